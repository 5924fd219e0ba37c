package httpapi

import (
	"net/http"
	"strings"

	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
)

// A caller is the holder of the key of a request.
type caller struct {
	sink.Principal
	token string // the instance's token that the caller came with, "" for the global key
}

// authenticate returns the holder of the first key that is one.
func (a *API) authenticate(keys ...string) (caller, bool) {
	for _, key := range keys {
		global, instance, ok := a.opts.Registry.Authenticate(key)
		if !ok {
			continue
		}
		c := caller{Principal: sink.Principal{Global: global, Instance: instance}}
		if !global {
			c.token = key
		}
		return c, true
	}
	return caller{}, false
}

// identify is authenticate for the keys that a request came with. If none of them is one, it waits once until the
// registry has caught up with other nodes, where one may have been made a moment ago.
func (a *API) identify(r *http.Request, keys ...string) (caller, bool) {
	c, ok := a.authenticate(keys...)
	if ok {
		return c, true
	}
	if given := strings.Join(keys, ""); given != "" {
		a.recheck(r, given)
		c, ok = a.authenticate(keys...)
	}
	return c, ok
}

// recheck returns when the registry has caught up with other nodes, see [instances.Registry.Recheck].
func (a *API) recheck(r *http.Request, sought string) {
	a.opts.Registry.Recheck(r.Context(), remote.Resolve(r, a.proxies).Bucket().String(), sought)
}

// headerKeys returns the keys in a request's header.
func headerKeys(r *http.Request) []string {
	keys := []string{r.Header.Get("Apikey")}
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		keys = append(keys, strings.TrimSpace(key))
	}
	return keys
}

// anyone lets in every holder of a key.
func (a *API) anyone(r *http.Request) (caller, error) {
	keys := headerKeys(r)
	c, ok := a.identify(r, keys...)
	if !ok {
		return c, a.denied(r, keys...)
	}
	return c, nil
}

// forGlobal lets in the holder of the global key only.
func (a *API) forGlobal(r *http.Request) error {
	c, err := a.anyone(r)
	if err == nil && !c.Global {
		err = unauthorized()
	}
	return err
}

// forInstance lets in callers with a key for the instance in the path, whether it exists or not, and returns its name.
func (a *API) forInstance(r *http.Request) (c caller, name string, err error) {
	name = r.PathValue("instance")
	c, err = a.anyone(r)
	if err == nil && !c.May(name) {
		err = unauthorized()
	}
	return c, name, err
}

// onInstance lets in callers with a key for the instance in the path and returns the instance, which exists.
func (a *API) onInstance(r *http.Request) (instances.Instance, error) {
	_, name, err := a.forInstance(r)
	if err != nil {
		return instances.Instance{}, err
	}
	in, ok := a.opts.Registry.Get(name)
	if !ok {
		a.recheck(r, "instance "+name)
		in, ok = a.opts.Registry.Get(name)
	}
	if !ok {
		return in, noInstance(name)
	}
	return in, nil
}
