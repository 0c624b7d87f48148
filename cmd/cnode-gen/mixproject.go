package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/cmd/cnode-gen/internal/source"
)

// projectOf reads which modules the mix project of a file defines in its other files; nil: the file
// is in no project. An application of an umbrella knows those of the others.
func projectOf(output string) (source.Project, error) {
	output, err := filepath.Abs(output)
	if err != nil {
		return nil, err
	}
	has := func(dir string) bool { _, err := os.Stat(filepath.Join(dir, "mix.exs")); return err == nil }
	root := filepath.Dir(output)
	for !has(root) {
		if root == filepath.Dir(root) {
			return nil, nil
		}
		root = filepath.Dir(root)
	}
	if above := filepath.Dir(filepath.Dir(root)); filepath.Base(filepath.Dir(root)) == "apps" && has(above) {
		root = above
	}
	found := source.Project{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // somebody else's folder
		case d.IsDir() && path != root && (slices.Contains(noSources, d.Name()) || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".ex" || path == output:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		if short, err := filepath.Rel(root, path); err == nil {
			path = short
		}
		modulesIn(string(text), path, found)
		return nil
	})
	return found, err
}

// noSources are folders of a project without sources of its own.
var noSources = []string{"deps", "_build", "priv", "node_modules", "test"}

var definition = regexp.MustCompile(`^( *)defmodule ([A-Z][\w.]*)(?:,| do\b)`)

// modulesIn notes the modules that a file defines, also those within others, as the formatter
// indents them.
func modulesIn(text, path string, found source.Project) {
	type open struct {
		indent int
		name   string
	}
	var outer []open
	isText, number := false, 0
	for line := range strings.Lines(text) {
		number++
		if strings.Count(line, `"""`)%2 == 1 {
			isText = !isText
		}
		m := definition.FindStringSubmatch(line)
		if m == nil || isText {
			continue
		}
		for len(outer) > 0 && outer[len(outer)-1].indent >= len(m[1]) {
			outer = outer[:len(outer)-1]
		}
		name := m[2]
		if len(outer) > 0 {
			name = outer[len(outer)-1].name + "." + name
		}
		outer = append(outer, open{len(m[1]), name})
		found[name] = source.Place{At: fmt.Sprintf("%s:%d", path, number), ByGen: strings.HasPrefix(text, "# "+source.Written)}
	}
}
