package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxSecrets is two: the one that is valid and the one that is on its way out.
const maxSecrets = 2

// signingKey reads a secret: "whsec_" and base64 of 24 to 64 bytes, as Standard Webhooks serialises one, or any other
// text, whose bytes are the key. The prefix is taken in any case, and with "v1," before it, as some services show their
// secrets. What is meant to be such a secret and cannot be read is refused, never taken for plain text: the receiver
// would check every signature against another key. Errors never show the secret.
func signingKey(secret string) ([]byte, error) {
	if secret == "" || len(secret) > 256 {
		return nil, errors.New("must have 1 to 256 characters")
	}
	if strings.TrimSpace(secret) != secret {
		return nil, errors.New("must not begin or end with white space")
	}
	text := secret
	if version, rest, found := strings.Cut(secret, ","); found && strings.EqualFold(version, "v1") {
		text = rest
	}
	for _, asymmetric := range []string{"whsk_", "whpk_", "v1a,"} {
		if len(text) >= len(asymmetric) && strings.EqualFold(text[:len(asymmetric)], asymmetric) {
			return nil, errors.New("is an asymmetric key, which cannot be used here: give one that begins with whsec_, or plain text")
		}
	}
	const prefix = "whsec_"
	switch at := strings.Index(strings.ToLower(secret), prefix); {
	case at < 0 && text != secret:
		return nil, errors.New(`begins with "v1," and must go on with whsec_ and base64`)
	case at < 0:
		return []byte(secret), nil
	case at != len(secret)-len(text):
		return nil, errors.New("holds whsec_, but does not begin with it: give one secret, without anything around it")
	}
	key, err := base64.StdEncoding.DecodeString(text[len(prefix):])
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("begins with whsec_ and must go on with 24 to 64 bytes in base64")
	}
	return key, nil
}

// idEscaper keeps the dot, which separates what is signed, out of ids that producers chose.
var idEscaper = strings.NewReplacer("%", "%25", ".", "%2E")

// sign sets the headers of Standard Webhooks: what tells the event from others, the time of this attempt, and one signature per key
// of "id.time.body". body is the JSON before compression, which is what receivers' frameworks hand to a verifier.
func sign(h http.Header, keys [][]byte, id string, at time.Time, body []byte) {
	id = idEscaper.Replace(id)
	stamp := strconv.FormatInt(at.Unix(), 10)
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	signatures := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
}

// tokenLife is how long a token is valid. One is minted per attempt, so a late retry carries a valid one too.
const tokenLife = 10 * time.Minute

// bearer mints the token of a jwt_key: HS256, valid for ten minutes.
func bearer(key string, at time.Time) (string, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iat": at.Unix(), "exp": at.Add(tokenLife).Unix(), "app": "evolution", "action": "webhook",
	}).SignedString([]byte(key))
	if err != nil {
		return "", fmt.Errorf("sign with jwt_key: %w", err)
	}
	return "Bearer " + token, nil
}
