//go:build unix

package e2e_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A certificate that was renewed, and the level of the log, are taken over at SIGHUP; the rest is told, and a mistake
// changes nothing.
func TestSighupTakesOverWhatItCan(t *testing.T) {
	dir := t.TempDir()
	certificate := func(name string) []byte {
		t.Helper()
		cert, keyFile, raw := selfSigned(t, name)
		if err := errors.Join(os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600), os.WriteFile(filepath.Join(dir, "key.pem"), keyFile, 0o600)); err != nil {
			t.Fatal(err)
		}
		return raw
	}
	configure := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := certificate("first")
	configure("log: {level: [info]}\n")
	p := launch(t, dir, "SERVER_TYPE=https", "SSL_CONF_FULLCHAIN=cert.pem", "SSL_CONF_PRIVKEY=key.pem")
	hangups := 0
	hangup := func() string {
		t.Helper()
		hangups++
		p.cmd.Process.Signal(syscall.SIGHUP)
		until(t, "SIGHUP is answered", func() bool { return strings.Count(p.output(), "SIGHUP: ") == hangups })
		at := strings.LastIndex(p.output(), "SIGHUP: ")
		return p.output()[strings.LastIndex(p.output()[:at], "\n")+1:]
	}
	if got := presented(t, p.url); string(got) != string(first) {
		t.Fatal("it does not present its certificate")
	}

	second := certificate("second")
	configure("log: {level: [debug]}\nevents: {max_batch: 7}\n")
	if line := hangup(); !strings.Contains(line, `"taken_over":["log.level"]`) || !strings.Contains(line, `"needs_restart":["events.max_batch"]`) {
		t.Errorf("it says %s", line)
	}
	if got := presented(t, p.url); string(got) != string(second) {
		t.Error("the renewed certificate is not presented")
	}
	until(t, "a line of level debug", func() bool { presented(t, p.url); return strings.Contains(p.output(), `"level":"debug"`) })

	configure("log: {levle: [debug]}\n")
	if line := hangup(); !strings.Contains(line, "log.levle") || !strings.Contains(line, `"level":"error"`) {
		t.Errorf("it says %s", line)
	}
	configure("log: {level: [debug]}\n")
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if line := hangup(); !strings.Contains(line, "server.private_key") || !strings.Contains(line, `"level":"error"`) {
		t.Errorf("it says %s", line)
	}
	if got := presented(t, p.url); string(got) != string(second) {
		t.Error("a broken key has changed the certificate")
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// selfSigned makes a certificate for 127.0.0.1, in PEM and as it is presented.
func selfSigned(t *testing.T, name string) (cert, privateKey, raw []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
	}
	raw, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), raw
}

// presented makes a request over a new connection and returns the certificate that the server presents.
func presented(t *testing.T, url string) []byte {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "http://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: evosink\r\nConnection: close\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", answer, err)
	}
	return conn.ConnectionState().PeerCertificates[0].Raw
}
