package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
)

func TestHealth(t *testing.T) {
	var ready error
	s := newServer(t, func(o *httpapi.Options) {
		o.Ready = func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("the check may take for ever")
			}
			return ready
		}
		o.SinkHealth = func(context.Context) map[string]error {
			return map[string]error{"webhook": errors.New("target down"), "websocket": nil}
		}
	})
	s.do("GET", "/healthz", "").is(t, 200, `{"status":"ok"}`)
	s.admin("GET", "/readyz", "").is(t, 200, `{"status":"ready","failing":1,"sinks":{"webhook":"target down","websocket":"ok"}}`)
	ready = errors.Join(errors.New("engine: disk full"), errors.New("starting"))
	s.admin("GET", "/readyz", "").is(t, 503, `{"status":"not ready","failing":3,"reasons":["engine: disk full","starting"],"sinks":{"webhook":"target down","websocket":"ok"}}`)
	for _, stranger := range []string{"", "wrong", salesKey} {
		s.do("GET", "/readyz", "", "apikey", stranger).is(t, 503, `{"status":"not ready","failing":3}`)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.do("GET", "/readyz", "").is(t, 503, `{"status":"draining"}`)
	s.do("GET", "/healthz", "").is(t, 200, "")
	newServer(t).do("GET", "/readyz", "").is(t, 200, `{"status":"ready"}`)
}

func TestWelcome(t *testing.T) {
	newServer(t).do("GET", "/", "").is(t, 200, `{"documentation":"/openapi.yaml","message":"Welcome to evosink, it is working!","status":200,"version":"1.2.3"}`)
}

func TestCORS(t *testing.T) {
	const app = "https://app.example"
	header := func(change func(*httpapi.CORS), method, path string, header ...string) answer {
		return newServer(t, func(o *httpapi.Options) { change(&o.Config.CORS) }).do(method, path, "", header...)
	}
	all := func(*httpapi.CORS) {}
	one := func(c *httpapi.CORS) { c.Origin, c.Credentials = []string{app}, true }

	a := header(all, "OPTIONS", "/events/sales", "Origin", app, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "apikey,content-type")
	if a.Code != 204 || a.Header().Get("Access-Control-Allow-Origin") != app || a.Header().Get("Access-Control-Allow-Methods") != "POST,GET,PUT,DELETE" ||
		a.Header().Get("Access-Control-Allow-Headers") != "apikey,content-type" || a.Header().Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("preflight answered %d %v", a.Code, a.Header())
	}
	if a := header(one, "GET", "/websocket/find/sales", "Origin", app); a.Header().Get("Access-Control-Allow-Origin") != app || a.Header().Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("the allowed origin got %v", a.Header())
	}
	for _, method := range []string{"OPTIONS", "GET"} {
		if a := header(one, method, "/", "Origin", "https://evil.example"); a.Header().Get("Access-Control-Allow-Origin") != "" || a.Header().Get("Vary") != "Origin" {
			t.Errorf("a foreign origin got %v", a.Header())
		}
	}
	if a := header(one, "GET", "/"); a.Code != 200 || a.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a client that is no browser got %d %v", a.Code, a.Header())
	}
}

func TestARequestIsLoggedOnceWithoutKeysOrPayload(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, func(o *httpapi.Options) { o.Logger = zerolog.New(&log) })
	s.do("POST", "/ingest/evolution?apikey="+globalKey, `{"event":"call","instance":"sales","data":"PAYLOAD","apikey":"`+salesKey+`"}`,
		"apikey", globalKey).says(t, 201)
	line := log.String()
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, `"level":"debug"`) || !strings.Contains(line, `"status":201`) || !strings.Contains(line, `"duration":`) {
		t.Errorf("logged %s", line)
	}
	for _, secret := range []string{globalKey, salesKey, "PAYLOAD"} {
		if strings.Contains(line, secret) {
			t.Errorf("logged %s", line)
		}
	}
}

func TestEveryRouteIsDocumented(t *testing.T) {
	s := newServer(t)
	served := s.do("GET", "/openapi.yaml", "")
	if file, err := os.ReadFile("openapi.yaml"); err != nil || served.text != string(file) || served.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("/openapi.yaml serves something else (%v)", err)
	}
	documented := map[string]bool{}
	var path string
	for line := range strings.Lines(served.text) {
		if m := regexp.MustCompile(`^  (/\S*):\s*$`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		if m := regexp.MustCompile(`^    (get|post|put|delete):\s*$`).FindStringSubmatch(line); m != nil {
			documented[strings.ToUpper(m[1])+" "+path] = true
		}
	}
	simplify := strings.NewReplacer("{$}", "", "...}", "}", "/websocket/", "/{sink}/", "/webhook/", "/{sink}/", "/rabbitmq/", "/{sink}/", "/sqs/", "/{sink}/")
	routes := map[string]bool{}
	for _, r := range s.Routes() {
		routes[simplify.Replace(r)] = true
	}
	for r := range routes {
		if !documented[r] {
			t.Errorf("%s is not in openapi.yaml", r)
		}
	}
	for d := range documented {
		if !routes[d] {
			t.Errorf("openapi.yaml has %s, which is no route", d)
		}
	}
}

func TestConfigIsValidatedByTheUsersKeys(t *testing.T) {
	for want, change := range map[string]func(*httpapi.Config){
		"server.port must be between 0 and 65535":                          func(c *httpapi.Config) { c.Server.Port = -1 },
		`server.type must be "http" or "https", not "ftp"`:                 func(c *httpapi.Config) { c.Server.Type = "ftp" },
		"server.type https needs certificate and private_key":              func(c *httpapi.Config) { c.Server.Type = "https" },
		"server.url must be":                                               func(c *httpapi.Config) { c.Server.URL = "api.example" },
		"server.max_body_bytes must be above 0":                            func(c *httpapi.Config) { c.Server.MaxBodyBytes = 0 },
		"server.max_bodies_bytes must be 0 or not below max_body_bytes":    func(c *httpapi.Config) { c.Server.MaxBodiesBytes = 1 },
		"server.max_connections must not be below 0":                       func(c *httpapi.Config) { c.Server.MaxConnections = -1 },
		"server.max_connections_per_address must not be below 0":           func(c *httpapi.Config) { c.Server.MaxConnectionsPerAddress = -1 },
		"server.body_timeout must be above 0":                              func(c *httpapi.Config) { c.Server.BodyTimeout = 0 },
		"server.header_timeout must be above 0":                            func(c *httpapi.Config) { c.Server.HeaderTimeout = 0 },
		"server.idle_timeout must be above 0":                              func(c *httpapi.Config) { c.Server.IdleTimeout = -1 },
		`cors.origin "app" must be`:                                        func(c *httpapi.Config) { c.CORS.Origin = []string{"*", "app"} },
		"events.max_bytes must be above 0":                                 func(c *httpapi.Config) { c.Events.MaxBytes = 0 },
		"events.max_batch must be above 0\nevents.timeout must be above 0": func(c *httpapi.Config) { c.Events.MaxBatch, c.Events.Timeout = 0, 0 },
		"events.max_bytes must not be above server.max_body_bytes":         func(c *httpapi.Config) { c.Events.MaxBytes = 1 << 40 },
	} {
		c := httpapi.Default()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q", err, want)
		}
	}
	c := httpapi.Default()
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if c.Server.Host = "::1"; c.Server.Address() != "[::1]:8080" || c.Server.TLS() {
		t.Errorf("address %s, TLS %v", c.Server.Address(), c.Server.TLS())
	}
}

// pipe is a listener of one connection.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

// serve runs the helper's server on one connection, inside a bubble, and returns the client's end of it.
func serve(t *testing.T, h http.Handler, log io.Writer) net.Conn {
	client, conn := net.Pipe()
	p := &pipe{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	p.conns <- conn
	server := httpapi.NewServer(httpapi.Default().Server, h, zerolog.New(log))
	ended := make(chan struct{})
	go func() { server.Serve(p); close(ended) }()
	t.Cleanup(func() {
		client.Close()
		server.Close()
		<-ended
	})
	return client
}

func TestASlowBodyIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for key, status := range map[string]int{globalKey: http.StatusRequestTimeout, "wrong": http.StatusUnauthorized} {
			start := time.Now()
			client := serve(t, newServer(t), io.Discard)
			fmt.Fprintf(client, "POST /events/sales HTTP/1.1\r\nHost: x\r\napikey: %s\r\nContent-Length: 100\r\n\r\n{", key)
			reader := bufio.NewReader(client)
			r, err := http.ReadResponse(reader, nil)
			if err != nil || r.StatusCode != status || time.Since(start) != time.Minute {
				t.Errorf("%v, %v after %s", r, err, time.Since(start))
			}
			if _, err := io.Copy(io.Discard, reader); err != nil || time.Since(start) > 2*time.Minute {
				t.Errorf("the connection ended with %v after %s", err, time.Since(start))
			}
		}
	})
}

func TestALongAnswerIsNotCutOnAConnectionThatCarriedABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.Mount("/poll", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(time.Hour):
				io.WriteString(w, "late")
			case <-r.Context().Done():
				io.WriteString(w, "cut")
			}
		}))
		client := serve(t, s, io.Discard)
		reader := bufio.NewReader(client)
		ask := func(request string) (int, string) {
			fmt.Fprint(client, request)
			r, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			return r.StatusCode, string(body)
		}
		if status, body := ask("POST /events/sales HTTP/1.1\r\nHost: x\r\napikey: " + globalKey + "\r\nContent-Length: 15\r\n\r\n{\"event\":\"a.b\"}"); status != 201 {
			t.Errorf("answered %d %s", status, body)
		}
		if status, body := ask("GET /poll HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 || body != "late" {
			t.Errorf("answered %d %s", status, body)
		}
	})
}

func TestASlowHeaderIsGivenUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		client := serve(t, newServer(t), io.Discard)
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost:")
		if _, err := io.Copy(io.Discard, client); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestAPanicIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		client := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("ouch") }), &log)
		fmt.Fprint(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		io.Copy(io.Discard, client)
		synctest.Wait()
		if !strings.Contains(log.String(), "ouch") || !strings.Contains(log.String(), `"level":"warn"`) {
			t.Errorf("logged %s", log.String())
		}
	})
}
