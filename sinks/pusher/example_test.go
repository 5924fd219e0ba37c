package pusher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/pusher"
)

// An instance with an app of its own, on a server of one's own. In a program the core does all of this.
func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { // stands in for Pusher
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.URL.Path, r.URL.Query().Get("auth_key"))
		fmt.Println(string(body))
	}))
	defer server.Close()

	factory := sink.Use(pusher.Spec, func(c *pusher.Config) { c.Enabled, c.Host = true, strings.TrimPrefix(server.URL, "http://") })
	s, err := factory.New(sink.Host{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer s.Close(ctx)

	// What a client posts to /pusher/set/sales.
	settings, err := factory.Normalize(json.RawMessage(`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":false,"events":["CALL"]}`), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	e := &event.Event{ID: "0192aa", Name: "call", Instance: "sales", Time: time.UnixMilli(1761055239512), Data: json.RawMessage(`{"status":"offer"}`)}
	fmt.Println(s.Deliver(ctx, &sink.Delivery{Event: e, Scope: sink.Instance, Target: "instance", Settings: settings, Attempt: 1, Key: sink.Key(e, "instance")}))
	// Output:
	// /apps/1/events k
	// {"name":"call","channels":["sales"],"data":"{\"event\":\"call\",\"instance\":\"sales\",\"data\":{\"status\":\"offer\"},\"destination\":\"1\",\"date_time\":\"2025-10-21T14:00:39.512Z\",\"apikey\":null,\"id\":\"0192aa\"}"}
	// <nil>
}
