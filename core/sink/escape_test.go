package sink_test

import (
	"testing"

	"github.com/evosink/evosink/core/sink"
)

func TestEscape(t *testing.T) {
	tests := []struct{ name, punctuation, want string }{
		{"sales-1.x", "._-", "sales-1.x"},
		{"sales-1.x", "_-", "sales-1_x2Ex"},
		{"Loja 1", "_-", "Loja_x201"},
		{"São", "_-", "S_xC3_xA3o"},
		{"a_x20", "_-", "a_x5Fx20"}, // not that of "a "
		{"a_x2", "_-", "a_x2"},
		{"\xff", "_-", "_xFF"},
		{"", "_-", ""},
	}
	for _, test := range tests {
		if got := sink.Escape(test.name, test.punctuation); got != test.want {
			t.Errorf("Escape(%q, %q) = %q, want %q", test.name, test.punctuation, got, test.want)
		}
	}
}
