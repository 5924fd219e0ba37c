package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

type created struct {
	Instance struct{ InstanceName, InstanceID, Integration, Status string }
	Hash     string
}

func (a answer) created(t *testing.T) (c created) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), &c); err != nil || a.Code != 201 {
		t.Fatalf("answered %d %s", a.Code, a.text)
	}
	return c
}

func TestCreateStoresTheInstanceWithItsSettingsAndThenTellsOfIt(t *testing.T) {
	s := newServer(t)
	s.hub.before = func(events ...*event.Event) {
		if _, ok := s.registry.Get("new"); !ok {
			t.Error("instance.create was emitted before the instance was stored")
		}
	}
	a := s.admin("POST", "/instance/create", `{"instanceName":"new","token":"MINE-0123456789AB","integration":"WHATSAPP-BAILEYS","qrcode":true,
		"websocket":{"events":["GROUPS_UPDATE"]},"webhook":{"enabled":false,"url":"https://a.example"},"rabbitmq":{"enabled":true},"kafka":7,"sqs":null}`)
	got := a.created(t)
	in, _ := s.registry.Get("new")
	if got.Instance.InstanceName != "new" || got.Instance.InstanceID != in.ID || got.Instance.Integration != "WHATSAPP-BAILEYS" || got.Hash != "MINE-0123456789AB" {
		t.Errorf("%s", a.text)
	}
	a.says(t, 201, `"websocket":{"enabled":true}`, `"webhook":{"enabled":false}`, `"rabbitmq":{}`, `"sqs":{}`, `"webhookWaBusiness":null`)
	s.do("GET", "/websocket/find/new", "", "apikey", "MINE-0123456789AB").says(t, 200, `"enabled":true,"events":["GROUPS_UPDATE"]`)
	s.do("GET", "/webhook/find/new", "", "apikey", "MINE-0123456789AB").says(t, 200, `"enabled":false`)
	if s.hub.names() != "instance.create" || string(s.hub.events[0].Data) != `{"instanceName":"new","instanceId":"`+in.ID+`"}` || s.hub.events[0].APIKey != "" {
		t.Errorf("emitted %s %+v", s.hub.names(), s.hub.events)
	}
}

func TestCreateTakesOverWhatAnEventMadeOnce(t *testing.T) {
	s := newServer(t)
	made, err := s.registry.Create(t.Context(), instances.Instance{Name: "early", ByEvent: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"instanceName":"early","token":"MINE-0123456789ABC","integration":"WHATSAPP-BAILEYS","websocket":{"events":["CALL"]}}`
	s.do("POST", "/instance/create", body, "apikey", salesKey).says(t, 401, "Unauthorized")
	got := s.admin("POST", "/instance/create", body).created(t)
	if got.Instance.InstanceID != made.ID || got.Instance.Integration != "WHATSAPP-BAILEYS" || got.Hash != "MINE-0123456789ABC" {
		t.Errorf("%+v", got)
	}
	s.do("GET", "/websocket/find/early", "", "apikey", "MINE-0123456789ABC").says(t, 200, `"enabled":true,"events":["CALL"]`)
	if s.hub.names() != "instance.create" {
		t.Errorf("emitted %s", s.hub.names())
	}
	s.admin("POST", "/instance/create", body).says(t, 403, "already in use")
}

func TestASinkMayHaveItsOwnAnswerToBeingCreated(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		f := use("hook", hookSchema, switches{On: true}, keep)
		f.Settings.Created = func(stored json.RawMessage) json.RawMessage { return json.RawMessage(`{"was":` + string(stored) + `}`) }
		o.Sinks = []*sink.Factory{f}
	})
	s.admin("POST", "/instance/create", `{"instanceName":"new","hook":{"url":"http://h?a&b"}}`).says(t, 201, `"hook":{"was":{"enabled":true,"url":"http://h?a&b"}}`)
	s.admin("POST", "/instance/create", `{"instanceName":"none"}`).says(t, 201, `"hook":{}`)
}

func TestATokenIsMadeWhenNoneIsGiven(t *testing.T) {
	s := newServer(t)
	for name, token := range map[string]string{"a": `""`, "b": `null`} {
		got := s.admin("POST", "/instance/create", `{"instanceName":"`+name+`","token":`+token+`}`).created(t)
		if !regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`).MatchString(got.Hash) {
			t.Errorf("hash %q", got.Hash)
		}
		s.do("GET", "/websocket/find/"+name, "", "apikey", got.Hash).is(t, 200, "null")
	}
}

func TestCreateRefusesInWords(t *testing.T) {
	s := newServer(t)
	s.admin("POST", "/instance/create", `{"instanceName":"sales"}`).is(t, 403,
		`{"status":403,"error":"Forbidden","response":{"message":["This name \"sales\" is already in use."]}}`)
	for body, want := range map[string]string{
		`{}`:                             `[["instance requires property \"instanceName\""]]`,
		`{"instanceName":7}`:             `[["instanceName is not of a type(s) string"]]`,
		`{"instanceName":""}`:            `instance must not be empty`,
		`{"instanceName":"a/b"}`:         `any of`,
		`{"instanceName":"sales\u200b"}`: `"message":["instance must not contain the character U+200B (at byte 5), which cannot be seen`,
		`{"instanceName":"a\u0301"}`:     `give it as \"\\u00e1\"`,
		`{"instanceName":"` + strings.Repeat("x", 300) + `"}`:                    `at most 255`,
		`{"instanceName":"new","token":"` + salesKey + `"}`:                      `"message":["the token is in use`,
		`{"instanceName":"new","token":"` + globalKey + `"}`:                     `the token is in use by another instance, or is the global key`,
		`{"instanceName":"new","token":" x"}`:                                    `white space`,
		`{"instanceName":"new","token":"a\nb"}`:                                  `control characters`,
		`{"instanceName":"new","token":"fifteen-bytes-x"}`:                       `token has 15 characters, at least 16 are needed`,
		`{"instanceName":"new","token":"ñññññññññ"}`:                             `token has 9 characters`,
		`{"instanceName":"new","token":"` + strings.Repeat("x", 256) + `"}`:      `at most 255`,
		`{"instanceName":"new","websocket":{"events":"x"}}`:                      `[["websocket.events is not of a type(s) array"]]`,
		`{"instanceName":"new","webhook":{"events":["NOPE"]},"websocket":false}`: `webhook requires property \"url\"","websocket is not of a type(s) object"]]`,
		`[`:    `Malformed JSON`,
		`"x"`:  `[["instance is not of a type(s) object"]]`,
		`null`: `[["instance is not of a type(s) object"]]`,
	} {
		s.admin("POST", "/instance/create", body).says(t, 400, want)
	}
	if _, ok := s.registry.Get("new"); ok || s.hub.names() != "" {
		t.Errorf("created %v, emitted %s", ok, s.hub.names())
	}
}

func TestAnInstanceIsCreatedAlsoWhenItsEventCannotBeStored(t *testing.T) {
	s := newServer(t)
	s.hub.err = errors.New("disk full")
	s.admin("POST", "/instance/create", `{"instanceName":"new"}`).created(t)
	if !strings.Contains(s.log.String(), "disk full") {
		t.Errorf("log: %s", s.log)
	}
}

func TestDeleteTellsFirstWaitsForSinksAndRemovesThen(t *testing.T) {
	var s *server
	var steps []string
	here := func(step string) {
		_, ok := s.registry.Get("sales")
		if !ok {
			step += " too late"
		}
		steps = append(steps, step)
	}
	s = newServer(t, func(o *httpapi.Options) {
		o.Settle = func(_ context.Context, instance string) error {
			if instance != "sales" {
				t.Errorf("settling %q", instance)
			}
			here("settle")
			return nil
		}
	})
	in, _ := s.registry.Get("sales")
	s.hub.before = func(events ...*event.Event) { here(events[0].Name + " " + string(events[0].Data)) }
	s.do("DELETE", "/instance/delete/sales", "", "apikey", salesKey).is(t, 200, `{"error":false,"response":{"message":"Instance deleted"},"status":"SUCCESS"}`)
	want := []string{`instance.delete {"instanceName":"sales","instanceId":"` + in.ID + `"}`, "remove.instance null", "settle"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if _, ok := s.registry.Get("sales"); ok {
		t.Error("the instance is still there")
	}
	s.admin("DELETE", "/instance/delete/sales", "").says(t, 404)
}

func TestNothingIsDeletedWhenItsEventsCannotBeStored(t *testing.T) {
	s := newServer(t)
	s.hub.err = errors.New("disk full")
	s.admin("DELETE", "/instance/delete/sales", "").says(t, 503)
	if _, ok := s.registry.Get("sales"); !ok {
		t.Error("the instance is gone")
	}
}

func TestDeletionGoesOnWhenASinkDoesNotSettle(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		o.Settle = func(context.Context, string) error { return context.DeadlineExceeded }
	})
	s.admin("DELETE", "/instance/delete/sales", "").says(t, 200)
	if _, ok := s.registry.Get("sales"); ok || !strings.Contains(s.log.String(), "before every sink has seen it") {
		t.Errorf("still there: %v, log: %s", ok, s.log)
	}
}

func TestANewTokenReplacesTheOldOne(t *testing.T) {
	for _, expose := range []bool{false, true} {
		s := newServer(t, func(o *httpapi.Options) { o.Config.Auth.ExposeInFetchInstances = expose })
		got := s.do("POST", "/instance/token/sales", "", "apikey", salesKey).created(t)
		s.do("GET", "/websocket/find/sales", "", "apikey", salesKey).is(t, 401, unauthorized)
		s.do("GET", "/websocket/find/sales", "", "apikey", got.Hash).is(t, 200, "null")
		e := s.hub.events[0]
		if e.Name != "new.jwt" || strings.Contains(string(e.Data), got.Hash) != expose || (e.APIKey == got.Hash) != expose {
			t.Errorf("exposed %v: emitted %+v", expose, e)
		}
		given := s.admin("POST", "/instance/token/sales", `{"token":"MINE-0123456789AB"}`).created(t)
		if given.Hash != "MINE-0123456789AB" || given.Instance.InstanceName != "sales" {
			t.Errorf("%+v", given)
		}
	}
}

func TestBadTokensAreRefusedAndTheOldOneStays(t *testing.T) {
	s := newServer(t)
	for body, want := range map[string]string{
		`{"token":"` + otherKey + `"}`: "in use", `{"token":7}`: `like {\"token\":`, `{`: `like {\"token\":`, `{"token":"a "}`: "white space",
		`{"token":"fifteen-bytes-x"}`: "AUTHENTICATION_ALLOW_SHORT_TOKENS=true allows short ones",
	} {
		s.admin("POST", "/instance/token/sales", body).says(t, 400, want)
	}
	s.do("GET", "/websocket/find/sales", "", "apikey", salesKey).is(t, 200, "null")
}

func TestShortTokensAreTakenWhereTheConfigurationAllowsThem(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Config.Auth.AllowShortTokens = true })
	s.admin("POST", "/instance/create", `{"instanceName":"new","token":"mine"}`).created(t)
	s.do("POST", "/instance/token/new", `{"token":"7"}`, "apikey", "mine").created(t)
	s.do("GET", "/websocket/find/new", "", "apikey", "7").is(t, 200, "null")
}

func TestFetchInstancesShowsWhatTheKeyOpens(t *testing.T) {
	s := newServer(t)
	sales, _ := s.registry.Get("sales")
	s.admin("POST", "/webhook/set/sales", `{"webhook":{"enabled":true,"url":"https://secret.example","events":["CALL"]}}`).says(t, 201)
	names := func(a answer) string {
		t.Helper()
		var rows []struct {
			Name  string
			Token *string
		}
		if err := json.Unmarshal([]byte(a.text), &rows); err != nil || a.Code != 200 {
			t.Fatalf("answered %d %s", a.Code, a.text)
		}
		var out []string
		for _, r := range rows {
			out = append(out, r.Name)
			if r.Token != nil {
				t.Error("a token is shown")
			}
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{"": "other sales", "?instanceName=sales": "sales", "?instanceId=" + sales.ID: "sales"} {
		if got := names(s.admin("GET", "/instance/fetchInstances"+query, "")); got != want {
			t.Errorf("%q shows %q, want %q", query, got, want)
		}
	}
	if got := names(s.do("GET", "/instance/fetchInstances", "", "apikey", salesKey)); got != "sales" {
		t.Errorf("the token of sales shows %q", got)
	}
	a := s.admin("GET", "/instance/fetchInstances?instanceName=sales", "")
	a.says(t, 200, `"Webhook":{"id":"`, `"enabled":true,"events":["CALL"],"createdAt":"`, `"Websocket":null`, `"id":"`+sales.ID+`"`)
	if strings.Contains(a.text, "secret.example") {
		t.Error("settings beyond the common ones are shown")
	}
	s.admin("GET", "/instance/fetchInstances?instanceName=nobody", "").is(t, 404, `{"status":404,"error":"Not Found","response":{"message":["Instance \"nobody\" not found"]}}`)
	s.admin("GET", "/instance/fetchInstances?number=5511", "").says(t, 404, "5511")
	s.do("GET", "/instance/fetchInstances?instanceName=other", "", "apikey", salesKey).is(t, 401, unauthorized)
	s.do("GET", "/instance/fetchInstances?instanceName=nobody", "", "apikey", salesKey).is(t, 401, unauthorized)
}
