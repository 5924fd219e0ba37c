package config_test

import (
	"testing"

	"github.com/evosink/evosink/config"
)

// same claims what its tags say.
type twoNames struct {
	A string `koanf:"a" env:"X_A"`
	B string `koanf:"b" env:"X_B,X_A"`
}

func TestMistakesInTheSectionsAreErrors(t *testing.T) {
	type section = config.Section
	for _, c := range []struct {
		want     string
		sections []section
	}{
		{"keys x.a and x.b both claim the variable EVOSINK_X_A", []section{{"x", &twoNames{}}}},
		{"both claim the variable", []section{{"x", &struct {
			A string `koanf:"a"`
		}{}}, {"y", &struct {
			A string `koanf:"a" env:"X_A"`
		}{}}}},
		{"both claim the variable EVOSINK_K_FILE", []section{{"x", &struct {
			K config.Secret `koanf:"k" env:"K"`
			F string        `koanf:"f" env:"K_FILE"`
		}{}}}},
		{"claims the variable EVOSINK_CONFIG, which names the file", []section{{"x", &struct {
			A string `koanf:"a" env:"CONFIG"`
		}{}}}},
		{"both claim the variables X_*", []section{{"x", &struct {
			A map[string]bool `koanf:"a" env:"X_*"`
			B map[string]bool `koanf:"b" env:"X_*"`
		}{}}}},
		{"two sections at \"x\"", []section{{"x", &struct{}{}}, {"x", &struct{}{}}}},
		{"two sections at \"x.a\"", []section{{"x", &struct {
			A struct{} `koanf:"a"`
		}{}}, {"x.a", &struct{}{}}}},
		{"stands below the key x.a", []section{{"x", &struct {
			A string `koanf:"a"`
		}{}}, {"x.a.b", &struct{}{}}}},
		{"two fields claim the key x.a", []section{{"x.a", &struct{}{}}, {"x", &struct {
			A string `koanf:"a"`
		}{}}}},
		{"want lower-case words joined by dots", []section{{"Sinks.x", &struct{}{}}}},
		{"want a pointer to a struct", []section{{"x", struct{}{}}}},
		{"want a pointer to a struct", []section{{"x", nil}}},
		{`koanf tag ""`, []section{{"x", &struct{ A string }{}}}},
		{`koanf tag "A.b"`, []section{{"x", &struct {
			A string `koanf:"A.b"`
		}{}}}},
		{"type chan int cannot be configured", []section{{"x", &struct {
			A chan int `koanf:"a"`
		}{}}}},
		{"its elements must be plain values", []section{{"x", &struct {
			A [][]string `koanf:"a"`
		}{}}}},
		{"the keys of a map must be strings", []section{{"x", &struct {
			A map[int]string `koanf:"a"`
		}{}}}},
		{"contains itself", []section{{"x", &recursive{}}}},
		{"want NAME_* on a map", []section{{"x", &struct {
			A string `koanf:"a" env:"X_*"`
		}{}}}},
		{"one map[string]any tagged env:\"*\"", []section{{"x", &struct {
			A map[string]struct{} `koanf:"a" env:"X_*__*"`
		}{}}}},
		{"needs a * for the name of the entry", []section{{"x", &struct {
			A map[string]any `koanf:"a" env:"X_A"`
		}{}}}},
		{`unit "h": want ms or s`, []section{{"x", &struct {
			A string `koanf:"a" unit:"h"`
		}{}}}},
	} {
		_, err := config.Load(config.Options{Dir: t.TempDir(), Sections: c.sections})
		wantError(t, err, c.want)
	}
}

type recursive struct {
	Next *recursive `koanf:"next"`
}

type base struct {
	A string `koanf:"a"`
}

func TestEmbeddedStructsAreLiftedAndFieldsCanBeLeftOut(t *testing.T) {
	s := struct {
		base `koanf:",squash"`
		Base base   `koanf:"-"`
		own  string // not exported
		B    string `koanf:"b" env:"-"`
	}{own: "kept"}
	c, err := config.Load(config.Options{Dir: t.TempDir(), Sections: []config.Section{{Path: "x", Into: &s}},
		Environ: []string{"X_A=1", "X_B=2"}, Args: []string{"--x.b=3"}})
	if err != nil || s.A != "1" || s.B != "3" || s.own != "kept" || s.Base.A != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if w := c.Warnings(); len(w) != 1 {
		t.Errorf("warnings %q, want one about X_B, which no key reads", w)
	}
}
