package parser_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// kib is a JSON object of about a kibibyte, of the shape of a chat message.
var kib = json.RawMessage(`{"event":"messages.upsert","instance":"sales","data":{"key":{"id":"3EB0"},"message":{"conversation":"` +
	strings.Repeat("lorem ipsum ", 75) + `"}}}`)

func BenchmarkEncodeEvent(b *testing.B) {
	p := parser.Packet{Type: parser.Event, Namespace: "/sales", Name: "messages.upsert", Args: []parser.Arg{parser.Raw(kib)}}
	b.ReportAllocs()
	b.SetBytes(int64(len(kib)))
	for b.Loop() {
		p.Encode(make([]byte, 0, p.Size()))
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	benchDecode(b, `2/sales,["messages.upsert",`+string(kib)+`]`)
}

func BenchmarkDecodeSmallEvent(b *testing.B) { benchDecode(b, `2["ping",1]`) }

func BenchmarkDecodeConnect(b *testing.B) { benchDecode(b, `0/sales,{"token":"abcdefghijklmnop"}`) }

func benchDecode(b *testing.B, text string) {
	limits := parser.DefaultLimits()
	d := parser.NewDecoder(&limits)
	data := []byte(text)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, complete, err := d.Text(data); err != nil || !complete {
			b.Fatal(complete, err)
		}
	}
}

func BenchmarkDecodeBinaryEvent(b *testing.B) {
	limits := parser.DefaultLimits()
	d := parser.NewDecoder(&limits)
	text, data := []byte(`51-["file",{"name":"a","data":{"_placeholder":true,"num":0}}]`), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.Text(text); err != nil {
			b.Fatal(err)
		}
		if _, complete, err := d.Binary(data); err != nil || !complete {
			b.Fatal(complete, err)
		}
	}
}
