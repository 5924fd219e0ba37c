package config

import (
	"fmt"
	"regexp"
	"strings"
)

// dotenvName is the file of variables beside the configuration file.
const dotenvName = ".env"

// assignment begins a statement: KEY=, with an optional export.
var assignment = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*`)

// parseDotenv reads KEY=value lines: an optional export, comments after a # that begins the line or follows a space,
// values in single quotes or backticks as they stand, in double quotes with \n, \r, \t, \" and \\; quoted values
// may go over several lines. Of two lines for one key the last wins, and twice names it.
//
// It is our own because koanf's parser (joho/godotenv v1.5.1) expands variables: it reads PASSWORD=pa$WORD as "pa", which
// neither Evolution API's reader nor any user of a .env with secrets expects, and its errors quote
// the rest of the file. Errors here name the line and nothing of its content.
func parseDotenv(src string) (vars map[string]string, twice []string, err error) {
	vars = map[string]string{}
	src = strings.ReplaceAll(src, "\r\n", "\n")
	for line := 1; src != ""; {
		start, rest, _ := strings.Cut(src, "\n")
		if s := strings.TrimSpace(start); s == "" || s[0] == '#' {
			src, line = rest, line+1
			continue
		}
		statement := strings.TrimLeft(src, " \t")
		m := assignment.FindStringSubmatch(statement)
		if m == nil {
			return nil, nil, fmt.Errorf("line %d: want NAME=value, a comment that begins with #, or an empty line", line)
		}
		value, left, err := dotenvValue(statement[len(m[0]):])
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", line, err)
		}
		if _, ok := vars[m[1]]; ok {
			twice = append(twice, m[1])
		}
		vars[m[1]] = value
		line += strings.Count(src[:len(src)-len(left)], "\n")
		src = left
	}
	return vars, twice, nil
}

// dotenvValue cuts the value at the start of src from what follows its line.
func dotenvValue(src string) (value, rest string, err error) {
	if src == "" || !strings.ContainsRune("'\"`", rune(src[0])) {
		line, rest, _ := strings.Cut(src, "\n")
		return strings.TrimSpace(withoutComment(line)), rest, nil
	}
	value, tail, ok := quoted(src[1:], src[0])
	if !ok {
		return "", "", fmt.Errorf("the closing %c is missing", src[0])
	}
	after, rest, _ := strings.Cut(tail, "\n")
	if strings.TrimSpace(withoutComment(" "+after)) != "" {
		return "", "", fmt.Errorf("text after the closing %c: write the whole value in quotes, or put # before a comment", src[0])
	}
	return value, rest, nil
}

// withoutComment cuts an unquoted line at a # that begins it or follows a blank.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

// dotenvEscapes are those of double quotes; before anything else a backslash stands for itself.
var dotenvEscapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\\': '\\'}

// quoted reads up to the closing quote and unescapes on the way.
func quoted(src string, quote byte) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(src); i++ {
		c := src[i]
		if c == quote {
			return b.String(), src[i+1:], true
		}
		if c == '\\' && quote == '"' && i+1 < len(src) {
			if e, known := dotenvEscapes[src[i+1]]; known {
				c = e
				i++
			}
		}
		b.WriteByte(c)
	}
	return "", "", false
}

// quoteDotenv writes a value on one line so that parseDotenv reads it back.
func quoteDotenv(value string) string {
	if !strings.ContainsAny(value, " \t\r\n#'\"`\\$") {
		return value
	}
	if !strings.ContainsAny(value, "'\r\n") {
		return "'" + value + "'"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(value) + `"`
}
