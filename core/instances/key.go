package instances

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

const globalKeyName = "global_key_digest"

// GlobalKey returns the digest of the installation's global key. That is the configured key if there is one; else a key
// is generated at the first call and only its digest stored. generated is that new key, to be shown once, and ""
// otherwise. Of several nodes that start at once for the first time, one generates the key of all.
func GlobalKey(ctx context.Context, store Store, configured string) (d Digest, generated string, err error) {
	if configured != "" {
		return Sum(configured), "", nil
	}
	stored, err := store.Value(ctx, globalKeyName)
	if err != nil {
		return "", "", fmt.Errorf("read the global key: %w", err)
	}
	if stored != nil {
		return Digest(stored), "", nil
	}
	key := RandomToken()
	if stored, err = store.AddValue(ctx, globalKeyName, []byte(Sum(key))); err != nil {
		return "", "", fmt.Errorf("store the global key: %w", err)
	}
	if d = Digest(stored); d != Sum(key) {
		key = "" // another node was quicker, and has shown its own
	}
	return d, key, nil
}

// RandomToken returns a random key in the form of Evolution API's tokens: an upper-case UUID (version 4).
func RandomToken() string {
	var u [16]byte
	rand.Read(u[:]) // never fails: crypto/rand crashes the process instead
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	s := strings.ToUpper(hex.EncodeToString(u[:]))
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
