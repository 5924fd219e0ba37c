package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

// number stands before an event's number in its data, and nowhere else in an envelope.
var number = []byte(`"n":`)

// A receiver is the other end of every webhook: it notes what arrives and answers at once.
type receiver struct {
	ledger ledger
	url    string
	server *http.Server
	ended  chan struct{}
}

// newReceiver listens on a free port of loopback.
func newReceiver() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String(), ended: make(chan struct{})}
	r.server = &http.Server{Handler: r}
	go func() {
		defer close(r.ended)
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "ingest: the receiver ended:", err)
		}
	}()
	return r, nil
}

// ServeHTTP takes one delivery.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body := make([]byte, max(q.ContentLength, 0))
	if _, err := io.ReadFull(q.Body, body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.ledger.arrive(numberIn(body))
	w.WriteHeader(http.StatusNoContent)
}

// numberIn finds the number of the event in an envelope; -1 if there is none.
func numberIn(body []byte) int {
	_, after, _ := bytes.Cut(body, number)
	end := bytes.IndexFunc(after, func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.Atoi(string(after[:max(end, 0)]))
	if err != nil {
		return -1
	}
	return n
}

func (r *receiver) close() {
	_ = r.server.Shutdown(context.Background()) // what it answers, it answers at once
	<-r.ended
}
