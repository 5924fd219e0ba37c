package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/evosink/evosink/core/instances"
)

// Auth is the section of all keys: the global ones, and what holds for the tokens of instances.
type Auth struct {
	APIKey                 string `koanf:"api_key" env:"AUTHENTICATION_API_KEY,GLOBAL_API_KEY" secret:"true" help:"the global key, 16 characters or more; without one, one is generated at the first start and shown once, and the server listens on loopback only"`
	PreviousAPIKey         string `koanf:"previous_api_key" env:"AUTHENTICATION_API_KEY_PREVIOUS" secret:"true" help:"a second global key, which opens everything too: the one that api_key replaces, until everything that uses it has the new one"`
	ExposeInFetchInstances bool   `koanf:"expose_in_fetch_instances" env:"AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES" help:"Whether events carry their instance's token to consumers (apikey)."`
	AllowShortTokens       bool   `koanf:"allow_short_tokens" env:"AUTHENTICATION_ALLOW_SHORT_TOKENS" help:"Whether new tokens of instances may have fewer than 16 characters, for those that move over from Evolution API with the tokens they have. Short ones can be guessed."`
}

// Validate speaks keys relative to the section.
func (a Auth) Validate() error {
	switch {
	case a.PreviousAPIKey == "":
		return nil
	case a.APIKey == "":
		return errors.New("previous_api_key is set without api_key (AUTHENTICATION_API_KEY), the key that replaces it")
	case a.APIKey == a.PreviousAPIKey:
		return errors.New("previous_api_key is the same as api_key; leave it out")
	}
	return nil
}

// OpenRegistry opens the instances of a store with the global keys. Without an APIKey the store has one, which is
// generated at the first start and written to show then, and never again.
func (a Auth) OpenRegistry(ctx context.Context, store instances.Store, show io.Writer) (*instances.Registry, error) {
	digest, generated, err := instances.GlobalKey(ctx, store, a.APIKey)
	if err != nil {
		return nil, err
	}
	if generated != "" {
		_, _ = fmt.Fprintf(show, "\nNo AUTHENTICATION_API_KEY is set. This key was generated and is shown only now:\n\n    %s\n\n", generated)
	}
	open := []instances.Digest{digest}
	if a.PreviousAPIKey != "" {
		open = append(open, instances.Sum(a.PreviousAPIKey))
	}
	return instances.Open(ctx, store, open...)
}

// Warnings are about global keys that can be guessed where other machines reach the server.
func (a Auth) Warnings(s Server) (out []string) {
	for i, key := range []string{a.APIKey, a.PreviousAPIKey} {
		if n := utf8.RuneCountInString(key); n > 0 && n < MinKey && !s.Loopback() {
			out = append(out, fmt.Sprintf(
				"auth.%s has %d characters and can be guessed by whatever reaches %s: take %d or more, for example from: openssl rand -hex 16",
				[]string{"api_key", "previous_api_key"}[i], n, s.Address(), MinKey))
		}
	}
	return out
}
