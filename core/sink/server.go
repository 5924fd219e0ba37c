package sink

import "fmt"

// A Server is the HTTP server in front of a hub, as far as the configurations of sinks depend on it.
type Server struct {
	URL  string // public address of the API, "" if it is not known
	Host string // that it listens on; "" is every address of the machine
	Port int
	// Origins are those whose pages may connect, "*" for all. Credentials lets them send cookies and authorisation along.
	Origins     []string
	Credentials bool
	// TrustedProxies are addresses and CIDR ranges of the proxies in front of it.
	TrustedProxies []string
	// Keyless says that no global key was chosen and only this machine reaches the server.
	Keyless bool
}

// Behind tells the configuration which server its sink stands behind, if it has a method Behind(*Server). That takes what
// it needs, and may add what the server is to trust. With a Server the configuration may be wrong in ways that are not
// seen without: see [Factory.Validate].
func (f *Factory) Behind(s *Server) {
	if c, ok := f.Config.(interface{ Behind(*Server) }); ok {
		c.Behind(s)
	}
}

// Validate checks the configuration if it has a method Validate() error.
func (f *Factory) Validate() error {
	if c, ok := f.Config.(interface{ Validate() error }); ok {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("sinks.%s: %w", f.Name, err)
		}
	}
	return nil
}
