package control_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
)

func TestEventsAreJSONOfTheirSizeWithTimeAndMark(t *testing.T) {
	for _, size := range []int{200, 1 << 10, 16 << 10} {
		event := control.NewTemplate(size).JSON()
		if len(event) != size || !json.Valid(event) {
			t.Errorf("%d bytes, valid %v; want %d", len(event), json.Valid(event), size)
		}
		if n := bytes.Count(event, []byte{control.Mark}); n != 1 {
			t.Fatalf("%d marks", n)
		}
		at := bytes.IndexByte(event, control.Mark)
		sent, err := strconv.ParseInt(string(event[at-control.Stamp:at]), 10, 64)
		if age := time.Since(time.Unix(0, sent)); err != nil || age < 0 || age > time.Minute {
			t.Errorf("sent %v ago, %v", age, err)
		}
	}
}

func TestAnOrderIsCarriedOutAsItsQuerySays(t *testing.T) {
	var spaces []string
	s := control.Server{Emit: func(space string, _ *control.Template) { spaces = append(spaces, space) }}
	o := control.Order{Events: 5, Size: 300, Burst: 2, Spaces: 3, Every: time.Millisecond}
	w := httptest.NewRecorder()
	s.Mux().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/emit?"+o.Query(), nil))
	want := []string{"/n0000", "/n0001", "/n0002", "/n0000", "/n0001"}
	if w.Code != http.StatusOK || len(spaces) != len(want) || spaces[2] != want[2] || spaces[3] != want[3] {
		t.Errorf("status %d, spaces %v, want %v", w.Code, spaces, want)
	}
}

func TestAnOrderThatIsNoneIsRefused(t *testing.T) {
	w := httptest.NewRecorder()
	control.Server{}.Mux().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/emit?events=many", nil))
	if w.Code != http.StatusBadRequest {
		t.Errorf("status %d", w.Code)
	}
}
