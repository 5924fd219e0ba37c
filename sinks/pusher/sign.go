package pusher

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"time"
)

// sign returns the query that authenticates a POST of body to path (Pusher Channels, "HTTP API reference", Authentication). Servers accept it
// for ten minutes.
func (a app) sign(path string, body []byte, at time.Time) string {
	sum := md5.Sum(body) // integrity only: the signature is what authenticates
	query := url.Values{
		"auth_key": {a.Key}, "auth_timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"auth_version": {"1.0"}, "body_md5": {hex.EncodeToString(sum[:])},
	}
	// Keys in order, values as they are: what is signed is not percent-encoded.
	text := "POST\n" + path + "\nauth_key=" + a.Key + "&auth_timestamp=" + query.Get("auth_timestamp") +
		"&auth_version=1.0&body_md5=" + query.Get("body_md5")
	mac := hmac.New(sha256.New, []byte(a.Secret))
	mac.Write([]byte(text))
	query.Set("auth_signature", hex.EncodeToString(mac.Sum(nil)))
	return query.Encode()
}
