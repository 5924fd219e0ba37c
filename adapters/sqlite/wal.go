package sqlite

import "github.com/rs/zerolog"

func verify(c Config, sameBoot bool, log zerolog.Logger) error { return nil }
func aside(path, what string) string                           { return path + "." + what }
