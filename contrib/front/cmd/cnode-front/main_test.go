package main

import (
	"bytes"
	"github.com/cnode-go/cnode/transport/handoff"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/leak"
)

// commandVariable has the test binary be the command.
const commandVariable = "CNODE_TEST_BE_FRONT"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
		return
	}
	os.Exit(leak.Run(m))
}

func TestCommandLine(t *testing.T) {
	const whole = "--listen 127.0.0.1:0 --workers x "
	for args, want := range map[string]string{
		"":                                     "--listen is missing",
		"--listen 127.0.0.1:0":                 "--workers is missing",
		"--listen here --workers x":            "--listen here: want HOST:PORT, tls:HOST:PORT or unix:PATH",
		"--listen unix: --workers x":           "want HOST:PORT, tls:HOST:PORT or unix:PATH",
		"--listen 127.0.0.1:99999 --workers x": "there is no port 99999: want 0 to 65535",
		"--listen tls:127.0.0.1:0 --workers x": "needs --cert and --key",
		"--dial here --workers x":              "--dial here: want HOST:PORT",
		whole + "--dial h:*":                   "--dial h:*: there is no port *",
		whole + "--dial h:99999":               "--dial h:99999: there is no port 99999",
		whole + "--dial :80":                   "--dial :80: want HOST:PORT",
		whole + "--dial [fe80::*]:80":          "--dial [fe80::*]:80: want HOST:PORT",
		whole + "--cert y":                     "--cert and --key belong together",
		whole + "--policy any":                 `--policy "any": want least or address`,
		whole + "--workers-mode 888":           `--workers-mode "888": want an octal number`,
		whole + "--window 0":                   "--window 0: want 1 to 65535",
		whole + "--tls-linger 0s":              "--tls-linger 0s: want a time to wait",
		whole + "--tls-left -1s":               "--tls-left -1s: want a time to wait, or 0",
		whole + "--http y":                     `--http "y": want host:port`,
		whole + "--log-level loud":             `--log-level "loud": want off, error, warn, info or debug`,
		whole + "--log-format yaml":            `--log-format "yaml": want text or json`,
		whole + "--drain 5":                    "--drain 5: the unit is missing: for seconds say 5s",
		whole + "--drain soon":                 "--drain soon: want a time such as 500ms, 10s or 2m",
		whole + "--worker-uid app":             "--worker-uid app: want a whole number",
		whole + "--proxy=maybe":                "--proxy maybe: want true or false",
		"--workers":                            "--workers: its value is missing: --workers PATH",
		"--listne x":                           "unknown flag: --listne",
		"front --listen x":                     `unknown argument "front": all are flags`,
	} {
		t.Run(args, func(t *testing.T) {
			var out, errOut bytes.Buffer
			require.Equal(t, exitUsage, run(t.Context(), strings.Fields(args), &out, &errOut))
			require.Contains(t, errOut.String(), "cnode-front: ")
			require.Contains(t, errOut.String(), want)
			require.Contains(t, errOut.String(), "see: cnode-front --help\n")
			require.Empty(t, out.String())
		})
	}
}

// Shells complete the words of a flag, and have a script of the program's own.
func TestCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"__complete --policy a": "address\n", "__complete --log-level ": "debug\n", "completion bash": "__cnode-front_debug()",
		"--version": "cnode-front version ",
	} {
		var out, errOut bytes.Buffer
		require.Equal(t, exitOK, run(t.Context(), strings.Split(args, " "), &out, &errOut), errOut.String())
		require.Contains(t, out.String(), want, args)
	}
}

// What --dial allows: whole addresses, and those that its * covers.
func TestMayDial(t *testing.T) {
	f := &flags{dial: []string{"irc.example.org:6697", "*.example.org:5671", "10.1.*:5432", "[::1]:80"}}
	for address, allowed := range map[string]bool{
		"irc.example.org:6697": true, "irc.example.org:6698": false, "a.example.org:5671": true, "example.org:5671": false,
		"10.1.2.3:5432": true, "10.1.evil.example:5432": false, "10.2.2.3:5432": false, "[::1]:80": true, "[::2]:80": false,
	} {
		require.Equal(t, allowed, f.mayDial(handoff.Cred{}, "", address) == nil, address)
	}
}
