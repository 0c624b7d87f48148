package tls

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// erl-call over TLS: with a node that runs, and with one that it starts, by the same option file.
func TestErlCall(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		file := a.mutual(t, a.sign(t, want{}))
		erl := r.Start(t, otp.Options{TLSOptFile: file})
		run := func(args ...string) (string, error) {
			cmd := exec.CommandContext(background(t), erlCall.Path(t), append([]string{"-c", erl.Cookie()}, args...)...)
			cmd.Env = append(cmd.Environ(), "ERL_EPMD_PORT="+strconv.Itoa(erl.EpmdPort()), "HOME="+a.dir)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		got, err := run("-name", erl.Name(), "-ssl_dist_optfile", file, "-a", "erlang node")
		require.NoError(t, err, got)
		require.Equal(t, "'"+erl.Name()+"'", got)

		got, err = run("-name", erl.Name(), "-timeout", "30", "-a", "erlang node")
		require.Error(t, err, "a node that speaks TLS only answers over TCP: %s", got)

		own := []string{"-name", "started@127.0.0.1", "-ssl_dist_optfile", file, "-x", r.Erl}
		defer func() {
			got, err := run(append(own, "-q")...)
			require.NoError(t, err, got)
		}()
		got, err = run(append(own, "-s", "-a", "lists seq [1000,1001]")...)
		require.NoError(t, err, got)
		require.Equal(t, "[1000, 1001]", got)
	})
}
