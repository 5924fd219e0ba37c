package child

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A program is an opened, checked file that can be executed.
type program struct {
	file  *os.File   // what was checked
	path  string     // what to execute
	extra []*os.File // descriptors that path needs in the child
	copy  string     // folder of a private copy, removed by close
}

// open checks the file of a command and makes it ready to be executed.
func (c Command) open() (*program, error) {
	if !filepath.IsAbs(c.Path) {
		return nil, fmt.Errorf("%s: the path of a program must be absolute", c.Path)
	}
	f, err := os.Open(c.Path)
	if err != nil {
		return nil, err
	}
	p := &program{file: f, path: c.Path}
	if err := errors.Join(p.checkMode(), checkFolders(c.Path)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if c.SHA256 == "" {
		return p, nil
	}
	if err := p.seal(c.SHA256); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *program) checkMode() error {
	info, err := p.file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", p.path)
	case runtime.GOOS == "windows":
		return nil
	case info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x", p.path)
	}
	if err := CheckMode(info); err != nil {
		return fmt.Errorf("%s %w", p.path, err)
	}
	return nil
}

// CheckMode refuses a file or folder that others than its owner can change. Members of its group count as others. In a
// sticky folder (/tmp) only a file's owner may replace it.
func CheckMode(info fs.FileInfo) error {
	mode := info.Mode()
	switch {
	case runtime.GOOS == "windows" || mode.IsDir() && mode&fs.ModeSticky != 0:
		return nil
	case mode.Perm()&0o002 != 0:
		return errors.New("can be changed by everybody: chmod go-w")
	case mode.Perm()&0o020 != 0:
		return errors.New("can be changed by everybody in its group: chmod g-w")
	}
	return nil
}

// checkFolders refuses folders in which others may replace the file: the one that the path names, the one where a link
// leads, and those above it.
func checkFolders(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	folders := []string{filepath.Dir(path)}
	for dir := filepath.Dir(target); ; dir = filepath.Dir(dir) {
		folders = append(folders, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, dir := range folders {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if err := CheckMode(info); err != nil {
			return fmt.Errorf("%s, where the program lies, %w", dir, err)
		}
	}
	return nil
}

// seal checks the sum and makes sure that what is executed is what was read.
func (p *program) seal(want string) error {
	if p.sealDescriptor() {
		return p.check(want, io.Discard)
	}
	if err := p.sealCopy(want); err != nil {
		return fmt.Errorf("make a private copy: %w", err)
	}
	return nil
}

func (p *program) check(want string, also io.Writer) error {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sum, also), p.file); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.ToLower(want) {
		return fmt.Errorf("%s has the sha256 %s, which is not the one that the configuration wants: it is not the file that was approved", p.file.Name(), got)
	}
	return nil
}

// sealCopy writes the file into a folder that only this user can enter, and executes it there.
func (p *program) sealCopy(want string) (err error) {
	if p.copy, err = os.MkdirTemp("", "evosink-plugin-"); err != nil {
		return err
	}
	p.path = filepath.Join(p.copy, filepath.Base(p.file.Name()))
	to, err := os.OpenFile(p.path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	return errors.Join(p.check(want, to), to.Close())
}

func (p *program) close() error {
	err := p.file.Close()
	if p.copy != "" {
		err = errors.Join(err, os.RemoveAll(p.copy))
	}
	return err
}
