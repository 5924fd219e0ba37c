package parser_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

func arg(t testing.TB, v any) parser.Arg {
	t.Helper()
	a, err := parser.JSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPacketsAsTheyStandOnTheWire(t *testing.T) {
	bin := parser.Binary([]byte("x"))
	nested := parser.Arg{
		JSON:        json.RawMessage(`{"a":` + one + `,"b":[` + zero + `]}`),
		Attachments: [][]byte{[]byte("p"), []byte("q")},
	}
	for want, p := range map[string]parser.Packet{
		`0{"sid":"a"}`:                        {Type: parser.Connect, Data: json.RawMessage(`{"sid":"a"}`)},
		`0/n,{"sid":"a"}`:                     {Type: parser.Connect, Namespace: "/n", Data: json.RawMessage(`{"sid":"a"}`)},
		`0/n,`:                                {Type: parser.Connect, Namespace: "/n"},
		`1`:                                   {Type: parser.Disconnect, Namespace: "/"},
		`1/n,`:                                {Type: parser.Disconnect, Namespace: "/n"},
		`2["a"]`:                              {Type: parser.Event, Name: "a"},
		`2/n,12["a","<&>",{"k":"é\n"}]`:       {Type: parser.Event, Namespace: "/n", HasID: true, ID: 12, Name: "a", Args: []parser.Arg{parser.String("<&>"), arg(t, map[string]string{"k": "é\n"})}},
		`2["a\"\\\u0001` + "\u2028" + `�"]`:   {Type: parser.Event, Name: "a\"\\\x01\u2028\xff"},
		`30[]`:                                {Type: parser.Ack, HasID: true},
		`3[1]`:                                {Type: parser.Ack, Args: []parser.Arg{parser.Raw(json.RawMessage(`1`))}},
		`4/n,{"message":"Invalid namespace"}`: {Type: parser.ConnectError, Namespace: "/n", Data: json.RawMessage(`{"message":"Invalid namespace"}`)},
		`51-["a",` + zero + `]`:               {Type: parser.Event, Name: "a", Args: []parser.Arg{bin}},
		`61-/n,5[` + zero + `]`:               {Type: parser.Ack, Namespace: "/n", HasID: true, ID: 5, Args: []parser.Arg{bin}},
		`53-["a",` + zero + `,{"a":` + one + `,"b":[` + ph(2) + `]},"end"]`: {Type: parser.Event, Name: "a", Args: []parser.Arg{bin, nested, parser.String("end")}},
		`2["a",` + zero + `]`: {Type: parser.Event, Name: "a", Args: []parser.Arg{parser.Raw(json.RawMessage(zero))}},
	} {
		text, _ := p.Encode(nil)
		if string(text) != want {
			t.Errorf("\n got %s\nwant %s", text, want)
		}
		if bound := p.Size() + 5*len(p.Name); len(text) > bound {
			t.Errorf("%s: %d bytes, estimated %d", text, len(text), bound)
		}
	}
}

func ph(i int) string { return string(parser.Placeholder(i)) }

func TestAttachmentsGoOutInTheOrderOfTheirPlaceholders(t *testing.T) {
	p := parser.Packet{Type: parser.Event, Name: "a", Args: []parser.Arg{
		{JSON: json.RawMessage(`[` + one + `,` + zero + `,` + one + `]`), Attachments: [][]byte{[]byte("0"), []byte("1"), []byte("never named")}},
		parser.Binary([]byte("2")),
	}}
	text, attachments := p.Encode(nil)
	if want := `54-["a",[` + ph(0) + `,` + ph(1) + `,` + ph(2) + `],` + ph(3) + `]`; string(text) != want {
		t.Errorf("got %s", text)
	}
	var order []string
	for _, a := range attachments {
		order = append(order, string(a))
	}
	if got := strings.Join(order, ""); got != "1012" {
		t.Errorf("order %s", got)
	}
}

func TestAPlaceholderWithoutItsAttachmentIsData(t *testing.T) {
	odd := `[` + ph(7) + `,{"_placeholder":true,"num":}`
	p := parser.Packet{Type: parser.Event, Name: "a", Args: []parser.Arg{{JSON: json.RawMessage(odd), Attachments: [][]byte{{1}}}}}
	text, attachments := p.Encode(nil)
	if want := `2["a",` + odd + `]`; string(text) != want || len(attachments) != 0 {
		t.Errorf("got %s with %d attachments", text, len(attachments))
	}
}

func TestJSONChecksAndCompactsRawMessages(t *testing.T) {
	if a := arg(t, json.RawMessage(` { "a" : "<b> c" } `)); string(a.JSON) != `{"a":"<b> c"}` {
		t.Errorf("got %s", a.JSON)
	}
	if _, err := parser.JSON(json.RawMessage(`{"a"`)); err == nil {
		t.Error("invalid JSON accepted")
	}
}
