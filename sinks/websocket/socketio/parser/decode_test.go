package parser_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// decode feeds one text and its attachments to a fresh decoder.
func decode(t testing.TB, text string, attachments ...[]byte) (parser.Packet, bool, error) {
	t.Helper()
	limits := parser.DefaultLimits()
	return decodeWith(&limits, text, attachments...)
}

func decodeWith(limits *parser.Limits, text string, attachments ...[]byte) (p parser.Packet, complete bool, err error) {
	d := parser.NewDecoder(limits)
	p, complete, err = d.Text([]byte(text))
	for _, a := range attachments {
		if err != nil {
			return
		}
		p, complete, err = d.Binary(a)
	}
	return
}

// show writes a packet in a form that tests can compare.
func show(p parser.Packet) string {
	var b strings.Builder
	b.WriteString(p.Type.String() + " " + p.Namespace)
	if p.HasID {
		b.WriteString(" #" + strconv.FormatUint(p.ID, 10))
	}
	if p.Type == parser.Event {
		b.WriteString(" name=" + p.Name)
	}
	for _, a := range p.Args {
		b.WriteString(" | " + string(a.JSON))
		for _, bin := range a.Attachments {
			b.WriteString(" <" + string(bin) + ">")
		}
	}
	if p.Data != nil {
		b.WriteString(" data=" + string(p.Data))
	}
	return b.String()
}

const zero, one = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`

func TestTextsThatArePackets(t *testing.T) {
	for text, want := range map[string]string{
		`0`:                                     `CONNECT /`,
		`0/`:                                    `CONNECT /`,
		`0/,`:                                   `CONNECT /`,
		`0/admin`:                               `CONNECT /admin`,
		`0/admin,`:                              `CONNECT /admin`,
		`0/admin,{"token":"1"}`:                 `CONNECT /admin data={"token":"1"}`,
		`0{}`:                                   `CONNECT / data={}`,
		`01`:                                    `CONNECT / #1`,
		`0/Ação?x=1,{}`:                         `CONNECT /Ação?x=1 data={}`,
		`1`:                                     `DISCONNECT /`,
		`1/admin,`:                              `DISCONNECT /admin`,
		`1/admin`:                               `DISCONNECT /admin`,
		`2["a"]`:                                `EVENT / name=a`,
		`2/,["a"]`:                              `EVENT / name=a`,
		`2["a",1,"2",{"3":[true]}]`:             `EVENT / name=a | 1 | "2" | {"3":[true]}`,
		`2[1,"a",{}]`:                           `EVENT / name=1 | "a" | {}`,
		`2[""]`:                                 `EVENT / name=`,
		`2["error"]`:                            `EVENT / name=error`,
		`2["a\"b\u00e9"]`:                       `EVENT / name=a"bé`,
		`2["a",",]}\"[{\\"]`:                    `EVENT / name=a | ",]}\"[{\\"`,
		"2[ \"a\" ,\t{ \"b c\" : [ 1 ] }\n] ":   `EVENT / name=a | {"b c":[1]}`,
		`2["a","<>&"]`:                          `EVENT / name=a | "<>&"`,
		`2["a",` + zero + `]`:                   `EVENT / name=a | ` + zero,
		`2456["a"]`:                             `EVENT / #456 name=a`,
		`20["a"]`:                               `EVENT / #0 name=a`,
		`2007["a"]`:                             `EVENT / #7 name=a`,
		`29007199254740992["a"]`:                `EVENT / #9007199254740992 name=a`,
		`20000000000000000000000000000012["a"]`: `EVENT / #12 name=a`,
		`29999999999999999999["a"]`:             `EVENT / #9999999999999999999 name=a`,
		`299999999999999999999["a"]`:            `EVENT / #18446744073709551615 name=a`,
		`3` + strings.Repeat("9", 1e5) + `[1]`:  `ACK / #18446744073709551615 | 1`,
		`2/admin,456["a",1]`:                    `EVENT /admin #456 name=a | 1`,
		`3456[]`:                                `ACK / #456`,
		`3/admin,0["x",null]`:                   `ACK /admin #0 | "x" | null`,
		`3[1]`:                                  `ACK / | 1`,
		`4"no"`:                                 `CONNECT_ERROR / data="no"`,
		`4/admin,{"message":"no"}`:              `CONNECT_ERROR /admin data={"message":"no"}`,
	} {
		p, complete, err := decode(t, text)
		if err != nil || !complete {
			t.Errorf("%s: complete=%v, %v", text, complete, err)
		} else if got := show(p); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestAttachmentsTakeThePlacesOfTheirNumbers(t *testing.T) {
	a, b := []byte("A"), []byte("B")
	for text, want := range map[string]string{
		`51-["x",` + zero + `]`:                                   `EVENT / name=x | ` + zero + ` <A>`,
		`52-["x",` + zero + `,` + one + `]`:                       `EVENT / name=x | ` + zero + ` <A> | ` + zero + ` <B>`,
		`52-["x",` + one + `,` + zero + `]`:                       `EVENT / name=x | ` + zero + ` <B> | ` + zero + ` <A>`,
		`52-["x",[` + one + `,{"a":` + zero + `}]]`:               `EVENT / name=x | [` + zero + `,{"a":` + one + `}] <B> <A>`,
		`51-["x",` + zero + `,` + zero + `]`:                      `EVENT / name=x | ` + zero + ` <A> | ` + zero + ` <A>`,
		`51-["x",{"num":0,"_placeholder":true}]`:                  `EVENT / name=x | ` + zero + ` <A>`,
		`51-["x",{"num":0e0,"z":[1,{}],"_placeholder":true}]`:     `EVENT / name=x | ` + zero + ` <A>`,
		`51-["x",{"_placehol\u0064er":true,"num":0}]`:             `EVENT / name=x | ` + zero + ` <A>`,
		`51-["x",{ "_placeholder" : true , "num" : 0 }]`:          `EVENT / name=x | ` + zero + ` <A>`,
		`51-["x",{"_placeholder":true,"num":0,"in":` + one + `}]`: `EVENT / name=x | ` + zero + ` <A>`,
		`51-["x",{"_placeholder":false,"num":7}]`:                 `EVENT / name=x | {"_placeholder":false,"num":7}`,
		`51-["x",{"_placeholder":1,"num":"0"}]`:                   `EVENT / name=x | {"_placeholder":1,"num":"0"}`,
		`51-["x","_placeholder"]`:                                 `EVENT / name=x | "_placeholder"`,
		`61-/n,5[` + zero + `]`:                                   `ACK /n #5 | ` + zero + ` <A>`,
		`51-/n,789["x",` + zero + `]`:                             `EVENT /n #789 name=x | ` + zero + ` <A>`,
	} {
		attachments := [][]byte{a, b}[:text[1]-'0']
		p, complete, err := decode(t, text, attachments...)
		if err != nil || !complete {
			t.Errorf("%s: complete=%v, %v", text, complete, err)
		} else if got := show(p); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// CVE-2026-33151 (number of attachments), CVE-2023-32695 (event names), CVE-2022-2421
// (placeholders), CVE-2020-36049 (very many digits, long names).
func TestTextsThatAreFatal(t *testing.T) {
	for _, text := range []string{
		``, `7`, `9["a"]`, `abc`, `-1`, ` 0`,
		"2[\"\xd4\"]", "0/\xff",
		`0[]`, `0"x"`, `0null`, `0true`, `0{`, `0/admin,"invalid"`, `0/admin,[]`, `0{}x`,
		`1{}`, `1/admin,{}`, `1[]`, `1x`,
		`2{}`, `2"a"`, `2[]`, `2[true,"foo"]`, `2[null,"bar"]`, `2[{"toString":"foo"}]`, `2[["a"]]`, `2/admin,{}`, `2/admin,"invalid`,
		`2["a"`, `2["a"]]`, `2["a"]["b"]`, `2["a",]`, `2[,]`, `2["a",01]`, `2['a']`, `2["a` + "\n" + `"]`,
		`2["connect"]`, `2["connect_error"]`, `2["disconnect","123"]`, `2["disconnecting"]`, `2["newListener"]`, `2["removeListener"]`,
		`2["disconne\u0063t"]`,
		`2abc["message-with-ack",1]`, `2-1["a"]`, `21.5["a"]`,
		`3{}`, `31"a"`, `442["some","data"`, `4[]`, `4true`,
		`5`, `51`, `5a-`, `51.23-["a"]`, `5-["a"]`, `50-["a"]`, `5-1-["a"]`, `511-["a"]`, `5` + strings.Repeat("1", 100_000) + `-["a"]`,
		`5["a"]`, `51-`, `61-`, `51-{}`, `51-["connect",` + zero + `]`,
		`51-["a",{"_placeholder":true}]`, `51-["a",{"_placeholder":true,"num":1}]`, `51-["a",{"_placeholder":true,"num":-1}]`,
		`51-["a",{"_placeholder":true,"num":"0"}]`, `51-["a",{"_placeholder":true,"num":"splice"}]`, `51-["a",{"_placeholder":true,"num":0.5}]`,
		`51-["a",{"_placeholder":true,"num":null}]`, `51-["a",{"_placeholder":true,"num":[0]}]`, `51-["a",{"_placeholder":true,"num":{"a":0}}]`,
		`51-["a",{"_placeholder":true,"num":1e400}]`, `51-["a",{"_placeholder":true,"num":0,"num":9}]`,
		`0/` + strings.Repeat("n", 2000),
		`2["a",` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `]`,
		`2["a",` + strings.Repeat("[", 300_000),
		`2["a"` + strings.Repeat(",1", 70_000) + `]`,
	} {
		if p, _, err := decode(t, text); err == nil {
			t.Errorf("%.80s: accepted as %.80s", text, show(p))
		} else if !errors.Is(err, parser.ErrMalformed) && !errors.Is(err, parser.ErrLimit) {
			t.Errorf("%.80s: error of no kind: %v", text, err)
		}
	}
}

func TestTextInPlaceOfAnAttachmentIsFatal(t *testing.T) {
	limits := parser.DefaultLimits()
	d := parser.NewDecoder(&limits)
	if _, complete, err := d.Text([]byte(`51-["a",` + zero + `]`)); complete || err != nil {
		t.Fatal(complete, err)
	}
	if _, _, err := d.Text([]byte(`2["b"]`)); !errors.Is(err, parser.ErrMalformed) {
		t.Error(err)
	}
}

func TestAnAttachmentWithoutAPacketIsFatal(t *testing.T) {
	limits := parser.DefaultLimits()
	d := parser.NewDecoder(&limits)
	if _, _, err := d.Binary([]byte("x")); !errors.Is(err, parser.ErrMalformed) {
		t.Error(err)
	}
}

func TestEventsWithoutPayloadAreBare(t *testing.T) {
	for text, bare := range map[string]bool{`2`: true, `3`: true, `212`: true, `3/admin,1`: true, `2/admin`: true, `2[""]`: false, `3[]`: false} {
		if p, complete, err := decode(t, text); !complete || err != nil || p.Bare != bare {
			t.Errorf("%s: complete=%v, bare=%v, %v", text, complete, p.Bare, err)
		}
	}
}

func TestEachLimitHolds(t *testing.T) {
	for name, c := range map[string]struct {
		limits       parser.Limits
		within, over string
	}{
		"attachments": {parser.Limits{Attachments: 2}, `52-["a"]`, `53-["a"]`},
		"namespace":   {parser.Limits{Namespace: 4}, `0/abc,`, `0/abcd,`},
		"size":        {parser.Limits{JSON: 5}, `2["a"]`, `2["ab"]`},
		"depth":       {parser.Limits{Depth: 3}, `2["a",[[]]]`, `2["a",[[[]]]]`},
		"auth depth":  {parser.Limits{Depth: 2}, `0{"a":{}}`, `0{"a":{"b":{}}}`},
		"arguments":   {parser.Limits{Args: 2}, `2["a",1]`, `2["a",1,2]`},
	} {
		limits := c.limits.WithDefaults()
		if _, _, err := decodeWith(&limits, c.within); err != nil {
			t.Errorf("%s: %s: %v", name, c.within, err)
		}
		if _, _, err := decodeWith(&limits, c.over); !errors.Is(err, parser.ErrLimit) {
			t.Errorf("%s: %s: %v", name, c.over, err)
		}
	}
	limits := parser.Limits{AttachmentBytes: 3}.WithDefaults()
	if _, _, err := decodeWith(&limits, `52-["a"]`, []byte("ab"), []byte("cd")); !errors.Is(err, parser.ErrLimit) {
		t.Errorf("attachment bytes: %v", err)
	}
}

func TestADeepPayloadWithinTheLimitCostsNoStack(t *testing.T) {
	deep := strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000)
	p, complete, err := decode(t, `51-["a",`+deep+`,`+zero+`]`, []byte("x"))
	if err != nil || !complete || string(p.Args[0].JSON) != deep {
		t.Fatal(complete, err)
	}
	text, attachments := p.Encode(nil)
	if want := `51-["a",` + deep + `,` + zero + `]`; string(text) != want || len(attachments) != 1 {
		t.Error("did not come back as it went in")
	}
}

func TestArgumentsRefuseWhatTheyAreNot(t *testing.T) {
	p, _, err := decode(t, `51-["a","text",`+zero+`,{"x":`+zero+`},7]`, []byte("bin"))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := p.Args[0].Text(); !ok || s != "text" {
		t.Error(s, ok)
	}
	if b, ok := p.Args[1].Bytes(); !ok || !bytes.Equal(b, []byte("bin")) {
		t.Error(b, ok)
	}
	if _, ok := p.Args[2].Bytes(); ok {
		t.Error("an object passes for one binary value")
	}
	var n int
	if err := p.Args[3].Decode(&n); err != nil || n != 7 {
		t.Error(n, err)
	}
	if err := p.Args[1].Decode(&n); err == nil {
		t.Error("a binary value was decoded as JSON")
	}
	if err := p.Args[0].Decode(&n); err == nil {
		t.Error("a string was decoded as a number")
	}
	if _, ok := p.Args[3].Text(); ok {
		t.Error("a number passes for a string")
	}
}
