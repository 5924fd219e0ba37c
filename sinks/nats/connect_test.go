package nats_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/nats"
)

// silentAfterConnect is a server that greets and answers the first ping, which is part of the handshake, and then nothing.
func silentAfterConnect(t *testing.T) (uri string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"max_payload\":1048576,\"headers\":true}\r\n")
			lines := bufio.NewScanner(conn)
			for pings := 0; lines.Scan(); {
				if lines.Text() == "PING" && pings == 0 {
					pings++
					fmt.Fprint(conn, "PONG\r\n")
				}
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "nats://" + l.Addr().String()
}

func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEveryWayToAuthenticate(t *testing.T) {
	userinfo := func(user *url.Userinfo) func(*nats.Config, string) {
		return func(c *nats.Config, host string) { c.URI = (&url.URL{Scheme: "nats", User: user, Host: host}).String() }
	}
	password := func(o *server.Options) { o.Username, o.Password = "us@er", "p/a:s%s,t" }
	token := func(o *server.Options) { o.Authorization = "t@k/en" }
	for name, c := range map[string]struct {
		server func(*server.Options)
		sink   func(c *nats.Config, host string)
	}{
		"user in the URI, percent-encoded": {password, func(c *nats.Config, host string) {
			c.URI = "nats://us%40er:p%2Fa%3As%25s%2Ct@" + host
		}},
		"user beside the URI":  {password, func(c *nats.Config, _ string) { c.Username, c.Password = "us@er", "p/a:s%s,t" }},
		"token in the URI":     {token, userinfo(url.User("t@k/en"))},
		"token beside the URI": {token, func(c *nats.Config, _ string) { c.Token = "t@k/en" }},
		"NKey": {
			func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: file(t, "user.pub")}} },
			func(c *nats.Config, _ string) { c.NKeyFile = "testdata/user.nk" },
		},
		"creds": {
			func(o *server.Options) {
				operator, err := server.ReadOperatorJWT("testdata/operator.jwt")
				if err != nil {
					t.Fatal(err)
				}
				accounts := &server.MemAccResolver{}
				accounts.Store(file(t, "account.pub"), file(t, "account.jwt"))
				o.TrustedOperators, o.AccountResolver = append(o.TrustedOperators, operator), accounts
			},
			func(c *nats.Config, _ string) { c.CredsFile = "testdata/user.creds" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := local(t, c.server)
			cfg := config(srv.ClientURL())
			c.sink(&cfg, srv.Addr().String())
			sinktest.Deliver(t, start(t, cfg), sinktest.NewDelivery(sink.Instance, "sales", "call"))

			denied := config(srv.ClientURL())
			err := start(t, denied).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
			if !sink.IsUnavailable(err) || !strings.Contains(strings.ToLower(err.Error()), "authorization") {
				t.Errorf("without credentials: %v", err)
			}
		})
	}
}

func TestNoSecretIsEverShown(t *testing.T) {
	srv := local(t, func(o *server.Options) { o.Username, o.Password = "u", "right" })
	var log bytes.Buffer
	c := config("nats://u:s3cret@" + srv.Addr().String())
	s := start(t, c, zerolog.New(zerolog.SyncWriter(&log)))
	err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error: %v", err)
	}
	s.Close(t.Context())
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), srv.Addr().String()) {
		t.Errorf("log: %s", log.String())
	}
}

func TestEventsTravelOverTLS(t *testing.T) {
	cert := sinktest.NewCertificate(t, "nats.example")
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(cert.Certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	for name, c := range map[string]struct {
		server func(*server.Options)
		tls    nats.TLS
		fails  bool
	}{
		"checked against an authority of ours": {tls: nats.TLS{CAFile: cert.CertFile, ServerName: "nats.example"}},
		"unchecked":                            {tls: nats.TLS{Insecure: true}},
		"from the first byte": {
			server: func(o *server.Options) { o.TLSHandshakeFirst = true },
			tls:    nats.TLS{CAFile: cert.CertFile, ServerName: "nats.example", First: true},
		},
		"with a client's certificate": {
			server: func(o *server.Options) {
				o.TLSConfig.ClientAuth, o.TLSConfig.ClientCAs = tls.RequireAnyClientCert, pool
			},
			tls: nats.TLS{CAFile: cert.CertFile, ServerName: "nats.example", CertFile: cert.CertFile, KeyFile: cert.KeyFile},
		},
		"by a certificate nobody vouches for, they do not": {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			srv := local(t, func(o *server.Options) {
				o.TLS, o.TLSTimeout = true, 10
				o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert.Certificate}, MinVersion: tls.VersionTLS12}
				if c.server != nil {
					c.server(o)
				}
			})
			cfg := config("tls://" + srv.Addr().String())
			cfg.TLS = c.tls
			err := start(t, cfg).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
			if c.fails != (err != nil) || c.fails && !strings.Contains(err.Error(), "certificate") {
				t.Errorf("Deliver: %v", err)
			}
		})
	}
}

func TestAServerThatIsAwayIsUnavailableAtOnceAndFoundWhenItComes(t *testing.T) {
	uri, _ := service(t)
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	p := sinktest.NewProxy(t, u.Host)
	p.Down()
	u.Host = p.Address
	s := start(t, config(u.String()))
	if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "evosink-test", "call")); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Deliver: %v", err)
	}
	began := time.Now()
	if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "evosink-test", "call")); !sink.IsUnavailable(err) || time.Since(began) > 2*time.Second {
		t.Errorf("Deliver: %v after %v", err, time.Since(began))
	}
	p.Up()
	sinktest.Eventually(t, "the sink is healthy", func() bool { return s.Check(t.Context()) == nil })
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, "evosink-test", "call"))
	if since, last := s.Connection(); since.IsZero() || last == nil {
		t.Errorf("connected since %v, last error %v", since, last)
	}
}

// A listener that accepts and says nothing, as a hung server does.
func TestAServerThatDoesNotGreetIsUnavailable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := config("nats://" + l.Addr().String())
	c.ConnectTimeout = 100 * time.Millisecond
	if err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call")); !sink.IsUnavailable(err) {
		t.Errorf("Deliver: %v", err)
	}
}

// The subscriber stays connected while the sink's connection is cut again and again: whatever Deliver confirmed must be there.
func TestWhatWasConfirmedArrivedHoweverOftenTheConnectionIsCut(t *testing.T) {
	uri, conn := service(t)
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	p := sinktest.NewProxy(t, u.Host)
	u.Host = p.Address
	instance := "evosink-test-" + event.NewID()
	arrived := arrivals(t, conn, instance+".call")
	s := start(t, config(u.String()))
	var confirmed []string
	for cuts := 0; cuts < 20; {
		if len(confirmed)%50 == 49 {
			cuts++
			go p.Cut()
		}
		d := sinktest.NewDelivery(sink.Instance, instance, "call")
		err := s.Deliver(t.Context(), d)
		if err == nil {
			confirmed = append(confirmed, d.Event.ID)
			continue
		}
		if sink.IsPermanent(err) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	sinktest.Eventually(t, "the last arrives", func() bool {
		ids := arrived()
		return len(ids) > 0 && ids[len(ids)-1] >= confirmed[len(confirmed)-1]
	})
	got := map[string]bool{}
	for _, id := range arrived() {
		got[id] = true
	}
	for i, id := range confirmed {
		if !got[id] {
			t.Errorf("event %d of %d was confirmed and is lost", i, len(confirmed))
		}
	}
}

// The server is stopped for good and started again on the same port with what it has stored.
func TestNothingIsLostOrOvertakenWhenTheServerStops(t *testing.T) {
	store := stored(t)
	srv := local(t, store)
	port := srv.Addr().(*net.TCPAddr).Port
	c := config(srv.ClientURL())
	c.JetStream = nats.JetStream{Enabled: true, Stream: "EVENTS", Replicas: 1}
	const lanes = 10
	instance := func(lane int) string { return fmt.Sprintf("lane-%d", lane) }
	id := func(lane, n int) string { return fmt.Sprintf("%d/%06d", lane, n) }
	each := sinktest.Outage{
		Sink: start(t, c), Lanes: lanes, Away: 2 * time.Second,
		Down: func() { stop(srv) },
		Up:   func() { srv = local(t, func(o *server.Options) { store(o); o.Port = port }) },
		Delivery: func(lane, n int) *sink.Delivery {
			d := sinktest.NewDelivery(sink.Instance, instance(lane), "call")
			d.Event.ID = id(lane, n)
			d.Key = sink.Key(d.Event, "instance")
			return d
		},
	}.Run(t)
	js := stream(t, connect(t, srv.ClientURL()), "EVENTS")
	for i := range lanes {
		consumer, err := js.OrderedConsumer(t.Context(), "EVENTS", orderedFor(instance(i)+".call"))
		if err != nil {
			t.Fatal(err)
		}
		doubles := sinktest.InOrder(t, each, func(n int) string { return id(i, n) }, func() string { return fetch(t, consumer) })
		if doubles > 0 {
			t.Errorf("%d events of lane %d are stored twice", doubles, i)
		}
	}
	t.Logf("%d events: none lost, overtaken or doubled", lanes*each)
}
