package nats

import (
	"crypto/tls"
	"errors"

	natsgo "github.com/nats-io/nats.go"
)

// TLS says how servers that want TLS are talked to: those with tls:// or wss:// addresses, and those that ask for it.
type TLS struct {
	CAFile     string `koanf:"ca_file" env:"NATS_TLS_CA" help:"PEM file of authorities to trust instead of the system's"`
	CertFile   string `koanf:"cert_file" env:"NATS_TLS_CERT" help:"PEM file of the client's certificate"`
	KeyFile    string `koanf:"key_file" env:"NATS_TLS_KEY" help:"PEM file of its private key"`
	ServerName string `koanf:"server_name" env:"NATS_TLS_SERVER_NAME" help:"name in the server's certificate, if it is not the host of uri"`
	First      bool   `koanf:"handshake_first" env:"NATS_TLS_HANDSHAKE_FIRST" help:"begin with TLS instead of waiting for the server to ask"`
	Insecure   bool   `koanf:"insecure_skip_verify" env:"NATS_TLS_INSECURE_SKIP_VERIFY" help:"accept any certificate; whatever is between the two can then read and change events"`
}

func (t *TLS) validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("tls.cert_file and tls.key_file belong together: give both or none")
	}
	return nil
}

// options are the library's; none when nothing is set.
func (t *TLS) options() (options []natsgo.Option) {
	if t.ServerName != "" || t.Insecure {
		options = append(options, natsgo.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}))
	}
	if t.CAFile != "" {
		options = append(options, natsgo.RootCAs(t.CAFile))
	}
	if t.CertFile != "" {
		options = append(options, natsgo.ClientCert(t.CertFile, t.KeyFile))
	}
	if t.First {
		options = append(options, natsgo.TLSHandshakeFirst())
	}
	return options
}
