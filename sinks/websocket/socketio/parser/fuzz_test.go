package parser_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// FuzzDecode holds two properties: no bytes make the decoder panic, and what
// it accepts encodes to a packet that decodes to the same.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"0/admin", // panics one peer
		"0", "0/,", `0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}`, `0{"token":"123"}`, "1", "1/admin,", "401",
		`2["foo"]`, `2/admin,["bar"]`, `212["foo"]`, `3/admin,13["bar"]`, `4/admin,{"message":"Not authorized"}`, `4"x"`,
		`51-["baz",{"_placeholder":true,"num":0}]`, `52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
		`61-/admin,15["bar",{"_placeholder":true,"num":0}]`, `51-["a",{"num":0,"x":{},"_placeholder":true}]`,
		`51-["a",{"_placeh\u006flder":true,"num":0}]`, `51-[1,[[{"_placeholder":true,"num":0e1}]]]`,
		"5", "51", "5a-", "51.23-", "999", "2", "3", "20", "2 [1]", "2[ 1 ]", `2["\ud800"]`, "2[\"a\",\"\u2028\x7f\"]",
	} {
		f.Add([]byte(seed), []byte("attachment"))
	}
	limits := parser.DefaultLimits()
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		d := parser.NewDecoder(&limits)
		p, complete, err := d.Text(bytes.Clone(text))
		for n := 0; err == nil && !complete && n < 10; n++ {
			p, complete, err = d.Binary(append([]byte{byte(n)}, attachment...))
		}
		if err != nil || !complete {
			return
		}
		roundTrip(t, &limits, p)
	})
}

func roundTrip(t *testing.T, limits *parser.Limits, p parser.Packet) {
	t.Helper()
	text, attachments := p.Encode(nil)
	if len(attachments) > limits.Attachments {
		return // the same attachment named more often than may be sent
	}
	for _, a := range p.Args {
		if !json.Valid(a.JSON) {
			t.Fatalf("argument %q is no JSON", a.JSON)
		}
	}
	d := parser.NewDecoder(limits)
	again, complete, err := d.Text(text)
	for _, a := range attachments {
		if err != nil || complete {
			break
		}
		again, complete, err = d.Binary(a)
	}
	if err != nil || !complete {
		t.Fatalf("%q: complete=%v, %v", text, complete, err)
	}
	if got, want := show(again), show(p); got != want {
		t.Fatalf("\n got %q\nwant %q", got, want)
	}
}
