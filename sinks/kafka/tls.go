package kafka

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// TLS says how brokers are talked to. Certificates and the key are PEM text, as in Evolution API, or the path of a PEM file.
type TLS struct {
	Enabled            bool   `koanf:"enabled" env:"KAFKA_SSL_ENABLED" help:"talk TLS to the brokers"`
	RejectUnauthorized bool   `koanf:"reject_unauthorized" env:"KAFKA_SSL_REJECT_UNAUTHORIZED" help:"off: accept any certificate; whatever is between the two can then read and change events"`
	CA                 string `koanf:"ca" env:"KAFKA_SSL_CA" help:"authorities to trust instead of the system's: PEM text or the path of a file"`
	Cert               string `koanf:"cert" env:"KAFKA_SSL_CERT" help:"the client's certificate: PEM text or the path of a file"`
	Key                string `koanf:"key" env:"KAFKA_SSL_KEY" secret:"true" help:"its private key: PEM text or the path of a file"`
	ServerName         string `koanf:"server_name" env:"KAFKA_SSL_SERVER_NAME" help:"name in the brokers' certificates, if it is not their host"`
}

func (t *TLS) validate() error {
	if (t.Cert == "") != (t.Key == "") {
		return errors.New("tls.cert and tls.key belong together: give both or none")
	}
	return nil
}

// config returns nil when TLS is off.
func (t *TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: !t.RejectUnauthorized}
	if t.CA != "" {
		text, err := pem(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("tls.ca: there is no certificate in it")
		}
	}
	if t.Cert != "" {
		cert, err := pem(t.Cert)
		key, keyErr := pem(t.Key)
		if err = cmp.Or(err, keyErr); err != nil {
			return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// pem returns the text itself or that of the file it names. A variable on one line may hold its newlines as \n.
func pem(text string) ([]byte, error) {
	if strings.Contains(text, "-----BEGIN") {
		return []byte(strings.ReplaceAll(text, `\n`, "\n")), nil
	}
	b, err := os.ReadFile(text)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) { // without the path: it may be a key without its first line
			err = path.Err
		}
		return nil, fmt.Errorf("neither PEM text nor the path of a file: %w", err)
	}
	return b, nil
}
