package pusher

import (
	"errors"
	"fmt"
	"regexp"
)

// An app is one of Pusher Channels, with what it takes to trigger events on it.
type app struct {
	ID      string `json:"appId"`
	Key     string `json:"key"`
	Secret  string `json:"secret"`
	Cluster string `json:"cluster"`
	UseTLS  bool   `json:"useTLS"`
}

var (
	idForm      = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)
	keyForm     = regexp.MustCompile(`^[\x21-\x7e]{1,200}$`)
	clusterForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,60}$`) // it becomes part of a host's name
)

// check reports everything that is wrong with a, by the names that the user's keys have. With a host of one's own there
// need be no cluster.
func (a app) check(names map[string]string, ownHost bool) error {
	var errs []error
	for _, f := range []struct {
		key, value string
		form       *regexp.Regexp
		optional   bool
		want       string
	}{
		{"appId", a.ID, idForm, false, "letters, digits, dots, - and _"},
		{"key", a.Key, keyForm, false, "printable characters without spaces"},
		{"secret", a.Secret, keyForm, false, "printable characters without spaces"},
		{"cluster", a.Cluster, clusterForm, ownHost, "letters, digits and -"},
	} {
		switch {
		case f.value == "" && f.optional:
		case f.value == "":
			errs = append(errs, fmt.Errorf("%s must not be empty", names[f.key]))
		case !f.form.MatchString(f.value):
			errs = append(errs, fmt.Errorf("%s must be of %s", names[f.key], f.want))
		}
	}
	return errors.Join(errs...)
}

// url returns the address of the app's HTTP API; host replaces Pusher's unless empty.
func (a app) url(host string) string {
	scheme := "http"
	if a.UseTLS {
		scheme = "https"
	}
	if host == "" {
		host = "api-" + a.Cluster + ".pusher.com"
	}
	return scheme + "://" + host
}
