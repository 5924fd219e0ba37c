// Package control is what all servers of the comparison have in common: the
// small surface by which they are steered and observed. The server in Node has
// the same by hand.
//
//	POST /emit?events=..&size=..&burst=..&every=..&spaces=..   emits, and answers when all is emitted; see Order
//	GET  /stats[?collect=1]                                    processor time, memory, clients; see Stats
//
// A server prints its address when it listens, and ends with its input, so that
// none outlives the comparison.
package control

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// A Server is one of the servers to compare.
type Server struct {
	// Handler serves websockets.
	Handler http.Handler
	// Emit sends the template's next event to all clients in space.
	Emit func(space string, t *Template)
	// Clients is how many clients have joined.
	Clients func() int
}

// Run serves until the standard input ends.
func (s Server) Run() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, s.Mux())) }()
	fmt.Println(listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}

// Mux serves the surface, and websockets at every other path.
func (s Server) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	if s.Handler != nil {
		mux.Handle("/", s.Handler)
	}
	mux.HandleFunc("POST /emit", s.emit)
	mux.HandleFunc("GET /stats", s.stats)
	return mux
}

// An Order says what to emit: Events events of Size bytes, Burst at once every
// Every. With Spaces they go to the first Spaces spaces in turn, otherwise to
// the main one.
type Order struct {
	Events, Size, Burst, Spaces int
	Every                       time.Duration
}

// Query returns the order as the query of /emit.
func (o Order) Query() string {
	return fmt.Sprintf("events=%d&size=%d&burst=%d&spaces=%d&every=%d", o.Events, o.Size, o.Burst, o.Spaces, o.Every.Milliseconds())
}

func parseOrder(q url.Values) (o Order, err error) {
	every := 0
	for key, value := range map[string]*int{"events": &o.Events, "size": &o.Size, "burst": &o.Burst, "spaces": &o.Spaces, "every": &every} {
		if *value, err = strconv.Atoi(q.Get(key)); err != nil {
			return o, fmt.Errorf("%s: %w", key, err)
		}
	}
	o.Burst = max(o.Burst, 1)
	o.Every = time.Duration(every) * time.Millisecond
	return o, nil
}

// Space names space i of an order with n: "/" if n is 0.
func Space(i, n int) string {
	if n == 0 {
		return "/"
	}
	return fmt.Sprintf("/n%04d", i%n)
}

func (s Server) emit(w http.ResponseWriter, r *http.Request) {
	o, err := parseOrder(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	template, start := NewTemplate(o.Size), time.Now()
	for i := range o.Events {
		if i > 0 && i%o.Burst == 0 {
			time.Sleep(time.Until(start.Add(time.Duration(i/o.Burst) * o.Every)))
		}
		s.Emit(Space(i, o.Spaces), template)
	}
}

// Stats is what a server says of itself.
type Stats struct {
	CPU     time.Duration // user and system time of all threads so far, in nanoseconds
	Clients int
}

func (s Server) stats(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("collect") != "" {
		debug.FreeOSMemory()
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	json.NewEncoder(w).Encode(Stats{CPU: time.Duration(u.Utime.Nano() + u.Stime.Nano()), Clients: s.Clients()})
}
