package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const module = "github.com/cnode-go/cnode"

// buildGo builds a package of this module, once, and returns the program's path.
func (a *arena) buildGo(ctx context.Context, pkg string) (string, error) {
	return a.buildGoIn(ctx, "", pkg, path.Base(pkg))
}

// buildGoIn builds a package of the module in a directory, once.
func (a *arena) buildGoIn(ctx context.Context, dir, pkg, name string) (string, error) {
	program := filepath.Join(a.dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	flags := []string{"build", "-o", program}
	if a.o.pgo != "" && dir == "" {
		flags = append(flags, "-pgo="+a.o.pgo)
	}
	cmd := exec.CommandContext(ctx, "go", append(flags, module+"/"+pkg)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not build: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// certify makes certificates for all nodes, and returns their option file.
func (a *arena) certify(ctx context.Context) (string, error) {
	program, err := a.buildGo(ctx, "cmd/cnode-demo")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(a.dir, "tls")
	return filepath.Join(dir, "ssl_dist.conf"), a.command(ctx, program, "certs", dir)
}

// buildC compiles a program of test/interop/libei as its makers would, with -O2, once, and returns
// its path. Without a compiler or libei's files it is the program that test/prepare.sh has compiled
// in the same way.
func (a *arena) buildC(ctx context.Context, name string) (string, error) {
	program := filepath.Join(a.dir, "libei-"+strings.TrimPrefix(name, "ei_"))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	err := a.compile(ctx, filepath.Join("test", "interop", "libei", name+".c"), program)
	if err == nil {
		return program, nil
	}
	if dir := os.Getenv("CNODE_TEST_LIBEI"); dir != "" {
		prepared := filepath.Join(dir, name)
		if _, statErr := os.Stat(prepared); statErr == nil {
			return prepared, nil
		}
	}
	return "", err
}

// compile compiles a file of this module with libei.
func (a *arena) compile(ctx context.Context, file, program string) error {
	libei, err := a.findLibei(ctx)
	if err != nil {
		return err
	}
	return compileC(ctx, file, program,
		"-I"+filepath.Join(libei, "include"), "-L"+filepath.Join(libei, "lib"), "-lei")
}

// buildPlainC compiles a program of test/bench/c, which needs no library.
func (a *arena) buildPlainC(ctx context.Context, name string) (string, error) {
	program := filepath.Join(a.dir, name)
	if err := compileC(ctx, filepath.Join("test", "bench", "c", name+".c"), program); err != nil {
		return "", err
	}
	return program, nil
}

// compileC compiles a file of this module.
func compileC(ctx context.Context, file, program string, flags ...string) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("where the module is: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), file)
	cmd := exec.CommandContext(ctx, "gcc", append([]string{"-std=gnu11", "-O2", "-pthread", "-o", program, source}, flags...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %w\n%s", source, err, out)
	}
	return nil
}

// findLibei returns the directory of the application erl_interface: the measuring node's own, or
// else, as the node may live in a root file system of its own, the machine's.
func (a *arena) findLibei(ctx context.Context) (string, error) {
	var dirs []string
	if text, err := a.driver.EvalContext(ctx, "list_to_atom(code:lib_dir(erl_interface))"); err == nil {
		dirs = append(dirs, strings.Trim(text, "'"))
	}
	for _, pattern := range []string{"/usr/lib/erlang/lib/erl_interface-*", "/usr/local/lib/erlang/lib/erl_interface-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "include", "ei.h")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no libei on this machine (Debian: erlang-dev)")
}
