package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
)

func TestAnAnswerThatIsNotReadIsGivenUp(t *testing.T) {
	for _, route := range []string{
		"GET /openapi.yaml", "GET /metrics", "GET /instance/fetchInstances", "GET /healthz", "GET /readyz", "GET /", "GET /nowhere",
		"POST /events/sales", "POST /ingest/evolution", "POST /websocket/set/sales", "OPTIONS /events/sales",
	} {
		synctest.Test(t, func(t *testing.T) {
			client := serve(t, newServer(t), io.Discard)
			method, path, _ := strings.Cut(route, " ")
			fmt.Fprintf(client, "%s %s HTTP/1.1\r\nHost: x\r\napikey: %s\r\nContent-Length: 0\r\n\r\n", method, path, globalKey)
			time.Sleep(2 * time.Minute)
			if rest, err := io.ReadAll(client); len(rest) > 0 {
				t.Errorf("%s: after two minutes without a reader there are %d bytes of an answer (%v)", route, len(rest), err)
			}
		})
	}
}

func TestAnAnswerThatIsReadInTimeIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serve(t, newServer(t), io.Discard)
		fmt.Fprint(client, "GET /openapi.yaml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		time.Sleep(9 * time.Second)
		rest, err := io.ReadAll(client)
		if err != nil || !bytes.HasSuffix(rest, []byte(newServer(t).do("GET", "/openapi.yaml", "").text)) {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
	})
}

func TestWrongKeysAreSlowedPerAddressAndLoggedAndRightOnesAreNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := newServer(t, func(o *httpapi.Options) {
			o.Logger = zerolog.New(&log).Level(zerolog.InfoLevel)
			o.Config.Server.TrustedProxies = []string{"192.0.2.1"} // where httptest's requests come from
		})
		ask := func(client, key string) int {
			return s.do("GET", "/websocket/find/sales", "", "apikey", key, "X-Forwarded-For", client).Code
		}
		got := map[int]int{}
		for i := range 1000 {
			got[ask("1.1.1.1", fmt.Sprint("guess-", i))]++
			if code := ask("1.1.1.1", salesKey); code != 200 {
				t.Fatalf("a right key was answered %d", code)
			}
		}
		if got[401] == 0 || got[429] < 900 || got[401]+got[429] != 1000 {
			t.Errorf("1,000 wrong keys were answered %v", got)
		}
		if code := ask("2.2.2.2", "wrong"); code != 401 {
			t.Errorf("another address was answered %d", code)
		}
		a := s.do("POST", "/ingest/evolution?apikey=guess", `{"event":"call","instance":"sales","apikey":"guess"}`, "X-Forwarded-For", "1.1.1.1")
		if a.says(t, 429, "1.1.1.1"); a.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		if code := s.do("GET", "/websocket/find/sales", "", "X-Forwarded-For", "1.1.1.1").Code; code != 401 {
			t.Errorf("without any key the answer is %d", code)
		}
		if n := strings.Count(log.String(), "1.1.1.1"); n != 1 || strings.Contains(log.String(), "guess") {
			t.Errorf("%d lines for the address: %s", n, log.String())
		}
		time.Sleep(time.Minute)
		if code := ask("1.1.1.1", "wrong"); code != 401 {
			t.Errorf("a minute later a wrong key was answered %d", code)
		}
		if !strings.Contains(log.String(), `"address":"1.1.1.1","count":1001`) {
			t.Errorf("the count is not logged: %s", log.String())
		}
	})
}

func TestWrongKeysOfManyAddressesCostLittle(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, func(o *httpapi.Options) {
		o.Logger = zerolog.New(&log).Level(zerolog.InfoLevel)
		o.Config.Server.TrustedProxies = []string{"192.0.2.1"}
	})
	for i := range 12_000 {
		s.do("GET", "/websocket/find/sales", "", "apikey", "wrong", "X-Forwarded-For", fmt.Sprintf("10.1.%d.%d", i/256, i%256))
	}
	if n := strings.Count(log.String(), "\n"); n > 10_000 {
		t.Errorf("%d lines", n)
	}
	if code := s.do("GET", "/websocket/find/sales", "", "apikey", salesKey).Code; code != http.StatusOK {
		t.Errorf("a right key was answered %d", code)
	}
}
