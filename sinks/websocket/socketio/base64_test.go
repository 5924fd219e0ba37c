package socketio_test

import (
	"encoding/base64"
	"testing"
)

func encode64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func decode64(t testing.TB, text string) string {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}
