// Package instances knows the instances of the API: their names, tokens and settings per
// sink. [Registry] answers from memory; a [Store] keeps it all for good.
package instances

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"
)

// An Instance is one tenant of the API. Values are immutable: a change makes a new one.
type Instance struct {
	Name        string              `json:"name"` // what every sink addresses it by
	ID          string              `json:"id"`   // UUID
	Integration string              `json:"integration,omitempty"`
	Token       Digest              `json:"token"`             // "" if it has no token of its own
	ByEvent     bool                `json:"byEvent,omitempty"` // an event made it and nothing has claimed it yet; see [Registry.Adopt]
	CreatedAt   time.Time           `json:"createdAt"`
	UpdatedAt   time.Time           `json:"updatedAt"`
	Settings    map[string]Settings `json:"settings,omitempty"` // by sink
	Version     int64               `json:"-"`                  // of the stored record; 0 before it is stored
}

// Settings are what an instance has set for one sink.
type Settings struct {
	ID        string          `json:"id"`
	Value     json.RawMessage `json:"value"` // stored form, see sink.Settings
	CreatedAt time.Time       `json:"createdAt"`
	UpdatedAt time.Time       `json:"updatedAt"`
}

// A Digest is the SHA-256 of a key in hex: what is kept instead of the key. Tokens are long and
// random, so a fast hash without salt is enough; a stolen file opens nothing.
type Digest string

// Sum returns the digest of a key.
func Sum(key string) Digest {
	sum := sha256.Sum256([]byte(key))
	return Digest(hex.EncodeToString(sum[:]))
}

// Fingerprint returns the first 8 digits of a digest, by which a log tells one key from another without showing either.
func (d Digest) Fingerprint() string { return string(d[:min(len(d), 8)]) }

// A Store keeps instances for good. Package storetest holds every store to this contract.
// All methods may be called by any number of goroutines at once.
type Store interface {
	// Instances returns all of them, in any order.
	Instances(ctx context.Context) ([]Instance, error)
	// PutInstance stores in under its name if the stored version is in.Version (0: there is none), and
	// returns the new version. Otherwise nothing changes and it returns [ErrConflict].
	PutInstance(ctx context.Context, in Instance) (version int64, err error)
	// DeleteInstance removes it; one that does not exist is no error.
	DeleteInstance(ctx context.Context, name string) error
	// Value returns what is stored under a key, nil if nothing is: small facts of the installation.
	Value(ctx context.Context, key string) ([]byte, error)
	// PutValue stores a value under a key.
	PutValue(ctx context.Context, key string, value []byte) error
}

// Errors of the registry and of stores.
var (
	ErrExists   = errors.New("the instance exists already")
	ErrUnknown  = errors.New("the instance does not exist")
	ErrToken    = errors.New("the token is in use by another instance, or is the global key")
	ErrConflict = errors.New("somebody else changed the instance at the same time")
)
