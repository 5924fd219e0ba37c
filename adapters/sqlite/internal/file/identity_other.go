//go:build !linux

package file

import "os"

// An identity is what makes a file that very file, whatever its name.
type identity struct{ info os.FileInfo }

// identify returns the identity of the file that name leads to.
func identify(name string) (identity, error) {
	info, err := os.Stat(name)
	if err != nil {
		return identity{}, err
	}
	os.SameFile(info, info) // has Windows look at the file now, and not when it is compared
	return identity{info}, nil
}

func (i identity) same(other identity) bool { return os.SameFile(i.info, other.info) }
