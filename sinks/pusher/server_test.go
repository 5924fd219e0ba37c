package pusher_test

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/pusher"
)

const appID, appKey, appSecret = "4711", "278d425bdf160c739803", "7ad3773142a6692b25b8"

// A server speaks Pusher's HTTP API and, to clients, as much of its websocket protocol as they need for public channels. It
// follows Pusher's documentation and shares no code with the sink.
type server struct {
	*httptest.Server
	refuse func(body string) int // a status instead of taking a request; nil or 0 takes it

	mu sync.Mutex
	// mu guards the fields below.
	triggered []trigger
	requests  []string // paths
	clients   map[string][]*websocket.Conn
}

// A trigger is one event as a client sees it.
type trigger struct {
	Channel  string   `json:"channel"`
	Channels []string `json:"channels,omitempty"`
	Event    string   `json:"event"`
	Name     string   `json:"name,omitempty"`
	Data     string   `json:"data"`
}

func newServer(t testing.TB) *server {
	s := &server{clients: map[string][]*websocket.Conn{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apps/"+appID+"/events", s.signed(s.events))
	mux.HandleFunc("POST /apps/"+appID+"/batch_events", s.signed(s.batch))
	mux.HandleFunc("GET /app/"+appKey, s.listen)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

// signed lets pass what is signed as Pusher's HTTP API reference demands.
func (s *server) signed(next func([]byte) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if why := verify(r, body); why != "" {
			http.Error(w, why, http.StatusUnauthorized)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests = append(s.requests, r.URL.Path)
		if s.refuse != nil {
			if status := s.refuse(string(body)); status != 0 {
				w.WriteHeader(status)
				return
			}
		}
		if !next(body) {
			http.Error(w, "malformed", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, "{}")
	}
}

// verify returns what is wrong with a request's authentication.
func verify(r *http.Request, body []byte) string {
	query := r.URL.Query()
	signature := query.Get("auth_signature")
	query.Del("auth_signature")
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(query)) {
		pairs = append(pairs, strings.ToLower(key)+"="+query.Get(key))
	}
	mac := hmac.New(sha256.New, []byte(appSecret))
	io.WriteString(mac, strings.Join([]string{r.Method, r.URL.Path, strings.Join(pairs, "&")}, "\n"))
	at, err := strconv.ParseInt(query.Get("auth_timestamp"), 10, 64)
	sum := md5.Sum(body)
	switch {
	case query.Get("auth_key") != appKey:
		return "unknown auth_key"
	case err != nil || time.Since(time.Unix(at, 0)).Abs() > 600*time.Second:
		return "timestamp expired"
	case query.Get("auth_version") != "1.0":
		return "invalid version"
	case query.Get("body_md5") != hex.EncodeToString(sum[:]):
		return "body MD5 does not match"
	case signature != hex.EncodeToString(mac.Sum(nil)):
		return "invalid signature"
	}
	return ""
}

func (s *server) events(body []byte) bool {
	var in trigger
	if json.Unmarshal(body, &in) != nil || len(in.Channels) != 1 || len(in.Data) > 10240 {
		return false
	}
	s.emit(trigger{Channel: in.Channels[0], Event: in.Name, Data: in.Data})
	return true
}

func (s *server) batch(body []byte) bool {
	var in struct{ Batch []trigger }
	if json.Unmarshal(body, &in) != nil || len(in.Batch) == 0 || len(in.Batch) > 10 {
		return false
	}
	for _, one := range in.Batch {
		if len(one.Data) > 10240 {
			return false
		}
	}
	for _, one := range in.Batch {
		s.emit(trigger{Channel: one.Channel, Event: one.Name, Data: one.Data})
	}
	return true
}

// emit is called with mu held.
func (s *server) emit(t trigger) {
	s.triggered = append(s.triggered, t)
	for _, c := range s.clients[t.Channel] {
		c.WriteJSON(t)
	}
}

func (s *server) listen(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	s.write(c, trigger{Event: "pusher:connection_established", Data: `{"socket_id":"1.1","activity_timeout":120}`})
	for {
		var in struct {
			Event string
			Data  json.RawMessage
		}
		if c.ReadJSON(&in) != nil {
			return
		}
		switch in.Event {
		case "pusher:ping":
			s.write(c, trigger{Event: "pusher:pong", Data: "{}"})
		case "pusher:subscribe":
			var to struct{ Channel string }
			json.Unmarshal(in.Data, &to)
			s.mu.Lock()
			s.clients[to.Channel] = append(s.clients[to.Channel], c)
			s.mu.Unlock()
			s.write(c, trigger{Event: "pusher_internal:subscription_succeeded", Channel: to.Channel, Data: "{}"})
		}
	}
}

func (s *server) write(c *websocket.Conn, t trigger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.WriteJSON(t)
}

func (s *server) got() []trigger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]trigger(nil), s.triggered...)
}

func (s *server) paths() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(strings.Join(s.requests, " "), "/apps/"+appID+"/", "")
}

// config is that of a sink whose global app is the server's.
func (s *server) config() pusher.Config {
	c := pusher.Defaults()
	c.Enabled, c.GlobalEnabled, c.Host, c.AppID, c.Key, c.Secret = true, true, s.host(), appID, appKey, appSecret
	return c
}

// settings are those of an instance with the server's app.
func settings() json.RawMessage {
	return json.RawMessage(`{"enabled":true,"appId":"` + appID + `","key":"` + appKey + `","secret":"` + appSecret + `","cluster":"eu","useTLS":false,"events":[]}`)
}

// start makes and starts a sink that is closed with the test.
func start(t testing.TB, c pusher.Config, hosts ...sink.Host) *pusher.Sink {
	t.Helper()
	return sinktest.Start(t, pusher.New, c, hosts...)
}

// delivery is an event on its way to the global app, or to the instance's with the settings of its own.
func delivery(scope sink.Scope, instance, name, data string) *sink.Delivery {
	d := sinktest.NewDelivery(scope, instance, name)
	d.Event.Data = json.RawMessage(data)
	if scope == sink.Instance {
		d.Settings = settings()
	}
	return d
}
