package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// TLS says how brokers with amqps addresses are talked to. The parameters cacertfile, certfile, keyfile and
// server_name_indication of uri do too, while this is empty.
type TLS struct {
	CAFile     string `koanf:"ca_file" env:"RABBITMQ_TLS_CA" help:"PEM file of authorities to trust instead of the system's"`
	CertFile   string `koanf:"cert_file" env:"RABBITMQ_TLS_CERT" help:"PEM file of the client's certificate"`
	KeyFile    string `koanf:"key_file" env:"RABBITMQ_TLS_KEY" help:"PEM file of its private key"`
	ServerName string `koanf:"server_name" env:"RABBITMQ_TLS_SERVER_NAME" help:"name in the broker's certificate, if it is not the host of uri"`
	Insecure   bool   `koanf:"insecure_skip_verify" env:"RABBITMQ_TLS_INSECURE_SKIP_VERIFY" help:"accept any certificate; whatever is between the two can then read and change events"`
}

func (t *TLS) validate() error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return errors.New("tls.cert_file and tls.key_file belong together: give both or none")
	}
	return nil
}

// config reads the files; nil when nothing is set.
func (t *TLS) config() (*tls.Config, error) {
	if *t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.Insecure}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: no certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
