package wire

import "fmt"

// What a line with an event holds at most. Common readers of JSON take no more: Python's ends the program beyond 1,000
// arrays in each other, or 4,300 digits in a row. An event that ends a plugin holds up those of all instances.
const (
	MaxDepth  = 500  // arrays and objects in each other
	MaxNumber = 1000 // bytes of a number
)

// CheckBounds reports that a line of valid JSON is above a limit.
func CheckBounds(line []byte) error {
	depth, number := 0, 0
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			for i++; line[i] != '"'; i++ {
				if line[i] == '\\' {
					i++
				}
			}
			number = 0
		case c == '[' || c == '{':
			if depth++; depth > MaxDepth {
				return fmt.Errorf("the event has more than %d arrays and objects in each other", MaxDepth)
			}
			number = 0
		case c == ']' || c == '}':
			depth--
			number = 0
		case '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c|0x20 == 'e':
			if number++; number > MaxNumber {
				return fmt.Errorf("the event has a number of more than %d bytes", MaxNumber)
			}
		default:
			number = 0
		}
	}
	return nil
}
