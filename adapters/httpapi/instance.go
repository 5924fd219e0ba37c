package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
)

// about is the data of events about an instance, as Evolution API has them.
type about struct {
	InstanceName string `json:"instanceName"`
	InstanceID   string `json:"instanceId"`
	Token        string `json:"token,omitempty"`
}

func aboutOf(in instances.Instance) about { return about{InstanceName: in.Name, InstanceID: in.ID} }

// createInstance is POST /instance/create, with Evolution API's answer.
func (a *API) createInstance(w http.ResponseWriter, r *http.Request) error {
	if err := a.forGlobal(r); err != nil {
		return err
	}
	body, err := a.readBody(w, r, operator, maxSettings)
	if err != nil {
		return err
	}
	in, token, err := a.readInstance(w, body)
	if err != nil {
		return err
	}
	name, line := in.Name, a.audit(r, "instance.create")
	in, err = a.opts.Registry.Adopt(r.Context(), in, token) // an event may have been quicker
	if errors.Is(err, instances.ErrExists) {
		return &problem{status: http.StatusForbidden, message: []string{fmt.Sprintf(`This name "%s" is already in use.`, name)}}
	}
	if err != nil {
		return err
	}
	line.Str("instance", in.Name).Strs("sinks", slices.Sorted(maps.Keys(in.Settings))).Msg("an instance was created")
	a.emitSystemOrLog(r.Context(), "instance.create", in.Name, token, aboutOf(in))
	return writeJSON(w, http.StatusCreated, a.created(in, token))
}

// readInstance reads the body of POST /instance/create: the new instance and its token, a random one if none is given.
// Properties that only Evolution API knows are ignored; one that nearly names a sink gets a notice.
func (a *API) readInstance(w http.ResponseWriter, body []byte) (in instances.Instance, token string, err error) {
	doc, err := parse(body)
	if err != nil {
		return in, "", err
	}
	presumeEnabled(doc, a.sinks)
	if wrong := a.create.violations(doc); len(wrong) > 0 {
		return in, "", violations(wrong)
	}
	keys := doc.(map[string]any) // the schema says so
	in.Name, _ = keys["instanceName"].(string)
	in.Integration, _ = keys["integration"].(string)
	if err := event.ValidateInstance(in.Name); err != nil {
		return in, "", badRequest(err.Error())
	}
	for name, block := range keys {
		if _, object := block.(map[string]any); !object || len(name) > 32 || slices.Contains(a.sinkNames(), name) {
			continue
		}
		if near := a.didYouMean(name, a.sinkNames()); near != "" {
			a.hint(w, fmt.Sprintf("no sink is called %+.80q, so its block is ignored%s", name, near))
		}
	}
	in.Settings = map[string]instances.Settings{}
	for _, s := range a.sinks {
		if err := s.adopt(keys, in.Settings); err != nil {
			return in, "", err
		}
	}
	given, _ := keys["token"].(string)
	token, err = a.tokenOr(given)
	return in, token, err
}

// created is the answer to POST /instance/create: Evolution API's, as far as it concerns events. The
// state of the connection to WhatsApp is the API's to know; a new instance has none.
func (a *API) created(in instances.Instance, token string) any {
	out := map[string]any{
		"instance": map[string]any{
			"instanceName": in.Name, "instanceId": in.ID, "integration": orNull(in.Integration),
			"webhookWaBusiness": nil, "accessTokenWaBusiness": "", "status": "close",
		},
		"hash": token,
	}
	for _, s := range a.sinks {
		out[s.Name] = s.summary(in)
	}
	return out
}

// deleteInstance is DELETE /instance/delete/{instance}. See the package comment for the order of its steps.
func (a *API) deleteInstance(w http.ResponseWriter, r *http.Request) error {
	in, err := a.onInstance(r)
	if err != nil {
		return err
	}
	if err := a.emitSystem(r.Context(), "instance.delete", in.Name, "", aboutOf(in)); err != nil {
		return err
	}
	if err := a.emitSystem(r.Context(), "remove.instance", in.Name, "", nil); err != nil {
		return err
	}
	a.settle(r.Context(), in.Name)
	line := a.audit(r, "instance.delete").Str("instance", in.Name)
	err = a.opts.Registry.Delete(context.WithoutCancel(r.Context()), in.Name)
	if err != nil && !errors.Is(err, instances.ErrUnknown) { // not deleted by another request meanwhile
		return err
	}
	if err == nil {
		line.Msg("an instance was deleted")
	}
	return writeJSON(w, http.StatusOK, map[string]any{
		"status": "SUCCESS", "error": false, "response": map[string]string{"message": "Instance deleted"},
	})
}

// settleTimeout bounds how long a deletion waits for sinks.
const settleTimeout = 2 * time.Second

func (a *API) settle(ctx context.Context, instance string) {
	if a.opts.Settle == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := a.opts.Settle(ctx, instance); err != nil {
		a.opts.Logger.Warn().Err(err).Msg("an instance is removed before every sink has seen it")
	}
}

// newToken is POST /instance/token/{instance}: a new token, given as {"token":"..."} or generated. The old one opens
// nothing any more when new.jwt is emitted, so a stolen one does not lead to the new one.
func (a *API) newToken(w http.ResponseWriter, r *http.Request) error {
	in, err := a.onInstance(r)
	if err != nil {
		return err
	}
	token, err := a.readToken(w, r, in)
	if err != nil {
		return err
	}
	line := a.audit(r, "token.replace").Str("instance", in.Name)
	if in, err = a.opts.Registry.SetToken(r.Context(), in.Name, token); err != nil {
		return err
	}
	line.Str("new_token", in.Token.Fingerprint()).Msg("an instance has a new token")
	data := aboutOf(in)
	if a.opts.Config.Auth.ExposeInFetchInstances {
		data.Token = token
	}
	a.emitSystemOrLog(r.Context(), "new.jwt", in.Name, token, data)
	return writeJSON(w, http.StatusCreated, map[string]any{"instance": aboutOf(in), "hash": token})
}

func (a *API) readToken(w http.ResponseWriter, r *http.Request, in instances.Instance) (string, error) {
	body, err := a.readBody(w, r, ownerOf(in), maxSettings)
	if err != nil {
		return "", err
	}
	var req struct {
		Token string `json:"token"`
	}
	if len(strings.TrimSpace(string(body))) > 0 {
		if err := event.Unmarshal(body, &req); err != nil {
			return "", badRequest(`The body must be empty or like {"token":"..."}: ` + err.Error())
		}
	}
	return a.tokenOr(req.Token)
}

// emitSystemOrLog emits an event about what has happened already, so that it cannot fail the request.
func (a *API) emitSystemOrLog(ctx context.Context, name, instance, token string, data any) {
	if err := a.emitSystem(ctx, name, instance, token, data); err != nil {
		a.opts.Logger.Error().Err(err).Str("event", name).Str("instance", instance).Msg("event was not emitted")
	}
}

// MinKey is how many characters a key must have that is not to be guessed.
const MinKey = 16

// maxToken is the length that Evolution API's database allows.
const maxToken = 255

// tokenOr returns the token given, or a random one. It refuses one that could be guessed, and what no header could
// carry.
func (a *API) tokenOr(given string) (string, error) {
	switch n := utf8.RuneCountInString(given); {
	case given == "":
		return instances.RandomToken(), nil
	case len(given) > maxToken:
		return "", badRequest(fmt.Sprintf("token has %d bytes, at most %d are allowed", len(given), maxToken))
	case strings.TrimSpace(given) != given, strings.ContainsFunc(given, unicode.IsControl):
		return "", badRequest("token must not begin or end with white space, nor contain control characters")
	case n < MinKey && !a.opts.Config.Auth.AllowShortTokens:
		return "", badRequest(fmt.Sprintf("token has %d characters, at least %d are needed, or it could be guessed. Leave it out to get a random one; "+
			"AUTHENTICATION_ALLOW_SHORT_TOKENS=true allows short ones", n, MinKey))
	}
	return given, nil
}
