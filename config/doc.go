// Package config reads evosink's configuration and can say where each value comes from. It is the only room that
// knows koanf, and it knows no key: sections are structs that others hand in.
//
// # Layers
//
//	defaults  what the sections' structs hold when they are handed in
//	file      --config, EVOSINK_CONFIG, or ./config.yaml, .yml or .toml
//	.env      variables in a file, read but never put into the environment
//	environment
//	flags     --server.port=8080; every key is one
//
// Each layer is loaded into a Koanf of its own, which is how a value's origin is known, then merged over those before
// it: maps by entry, anything else (lists too) as a whole. Before a file is merged its keys are lower-cased down to the
// names that are the user's own, and empty sections are dropped: in koanf a nil erases what lies below it.
//
// # Keys and variables
//
// The table of keys comes from the structs by reflection, and the variables from their env tags. Nothing is derived
// from a variable's underscores: WEBSOCKET_GLOBAL says nothing about WEBSOCKET_GLOBAL_EVENTS. A leaf without a tag has
// its path in capitals; every name also works with the prefix EVOSINK_, which wins; of several names for one key the
// first wins; two keys that claim one name are an error. Names with a star fill maps: WEBHOOK_EVENTS_* one entry each,
// PLUGIN_*__* the free-form map of the entry that the first star names. Exact names come first. Entries keep the
// spelling that follows the prefix.
//
// An empty variable is one that is not set, as in Evolution API's example files; a flag can set a text to empty
// (--key=). A variable that Kubernetes has set for a service (SERVER_PORT=tcp://10.96.3.4:8080) is not used, with a
// warning.
//
// # Values
//
// Decoding is strict, and each error names the key, the place it was set and what is accepted; all of them are
// reported at once. Only the value that counts is judged. The types are
//
//	bool            true, false, 1, 0, yes, no, on, off in any case (Evolution API takes only "true")
//	integers        decimal, within the field's width
//	floats          finite
//	time.Duration   500ms, 30s, 5m; a plain number where the variable or key ends in _MS or _SECONDS, or the tag
//	                says unit:"ms" or "s"
//	text            as it stands; in a file a number must be in quotes, because YAML reads 0123 as 83
//	Secret          the same, never printed; NAME_FILE reads it from a file, less one newline at its end
//	lists           of the above: a list, or text with commas; blanks and empty words dropped
//	maps            of the above, or map[string]any for free form; as text name=value,name=value
//	map[string]T    of structs: entries that the user names; a method Defaults() on *T fills a new one
//	encoding.TextUnmarshaler with its TextMarshaler, pointers to all of these, nested structs
//
// # Secrets
//
// [Config] holds no secret in a form that prints: it keeps the redacted text and a fingerprint. Fields of type Secret,
// entries of free maps with a name like key, token, secret, password or dsn, and whatever stands before the last @ of a
// URL are shown as ***, and so are all headers, segments of a URL's path that are no plain words, and arguments with a
// name like a secret's. What was printed that way is not read back as a value. A file with a secret that every user of
// the machine may read is a warning.
//
// # Reload
//
// Build fresh sections, [Load] again, compare with [Diff], and take over the keys whose fields have the tag
// reload:"true" ([Key.Live]); the others need a restart. Nothing here keeps a goroutine, a global or a handle to the
// sections after Load returns.
package config
