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
	ByEvent     bool                `json:"byEvent,omitempty"` // made by an event, and free for [Registry.Adopt]
	CreatedAt   time.Time           `json:"createdAt"`
	UpdatedAt   time.Time           `json:"updatedAt"`
	Settings    map[string]Settings `json:"settings,omitempty"` // by sink
	Version     int64               `json:"-"`                  // of the stored record; 0 before it is stored
	// Birth is the position of the log's newest entry when the instance was created: what is before belongs to a former
	// instance of that name. The store sets it.
	Birth int64 `json:"-"`
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

// A Store keeps instances for good and may be shared by several nodes, each with a [Registry]. Each
// change that creates, replaces or deletes an instance gets a revision above all others so far (a count, or a position
// in a log), and all nodes see changes in that order.
// Package storetest holds every store to this contract. All methods may be called by any number of goroutines at once.
// After an error other than those named, a change may or may not have happened: a network may lose the answer.
type Store interface {
	// Instances returns all of them, in any order, as they were at a revision.
	Instances(ctx context.Context) (all []Instance, revision int64, err error)
	// InstanceRevision returns the revision of the newest change that has ended before the call or that InstanceUpdates
	// had returned by then, on any node, or of a later one.
	InstanceRevision(ctx context.Context) (int64, error)
	// InstanceUpdates returns the changes behind a revision, oldest first and without a gap, also those that this node
	// made. It waits until there is one; it may return some of many. What the store does not remember any more is
	// [ErrForgotten], a store that is closed meanwhile [ErrClosed], and the end of ctx the context's error.
	InstanceUpdates(ctx context.Context, after int64) ([]Update, error)

	// PutInstance stores in under its name if the stored version is in.Version (0: there is none); else nothing changes
	// and it returns [ErrConflict]. A token that another instance has is [ErrToken]. It returns in with its new
	// version, which is the revision of the change, and with its birth: the store sets it when the instance is created
	// and keeps it from then on.
	PutInstance(ctx context.Context, in Instance) (stored Instance, err error)
	// DeleteInstance removes the instance of that name if the stored version is the one given, else it returns
	// [ErrConflict].
	DeleteInstance(ctx context.Context, name string, version int64) (revision int64, err error)

	// Value returns what is stored under a key, nil if nothing is: small facts of the installation.
	Value(ctx context.Context, key string) ([]byte, error)
	// AddValue stores a value under a key unless something is stored there already. It returns what is stored now: of
	// several nodes that add at once all get the same.
	AddValue(ctx context.Context, key string, value []byte) (stored []byte, err error)
}

// An Update is one change of a [Store]. It is shared by all readers, so nothing in it may be changed.
type Update struct {
	Revision int64
	Name     string
	Instance *Instance // as it is from then on; nil if it was deleted
}

// Errors of the registry and of stores.
var (
	ErrExists    = errors.New("the instance exists already")
	ErrUnknown   = errors.New("the instance does not exist")
	ErrToken     = errors.New("the token is in use by another instance, or is the global key")
	ErrConflict  = errors.New("the instance was changed by another request at the same time")
	ErrForgotten = errors.New("the store does not remember the changes behind that revision; read all instances again")
	ErrClosed    = errors.New("the store of instances is closed")
)
