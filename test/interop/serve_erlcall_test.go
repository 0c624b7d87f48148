package interop

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// erl_call, the program of OTP for scripts, calls us: by name, and by address without a port
// mapper.
func TestServeErlCall(t *testing.T) {
	needsTCP(t, "erl_call speaks no TLS")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		demo := serve(t, port)
		for _, how := range [][]string{{"-name", demo.Name}, {"-R", "-name", demo.Name}, {"-address", "127.0.0.1:" + demo.Address}} {
			for call, want := range map[string]string{
				`cnode echo [[1,{a,"b"}]]`: `[1, {a, "b"}]`,
				`cnode pid []`:             strconv.Itoa(demo.Pid()),
				`cnode echo [1,2]`: `{badrpc, {'EXIT', {undef, [{cnode, echo, [1, 2], []}, ` +
					`{cnode, echo, 2, [{file, "did you mean cnode:echo/1?"}, {line, 0}]}]}}}`,
			} {
				args := slices.Concat(how, []string{"-timeout", "30", "-c", otp.DefaultCookie, "-a", call})
				if how[0] != "-R" { // which asks for a name
					self, _, _ := strings.Cut(uniqueName(), "@")
					args = append(args, "-h", self)
				}
				cmd := exec.Command(r.Command("erl_call"), args...)
				cmd.Env = gonode.Environment(t, port)
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%v %s", how, out)
				require.Equal(t, want, strings.TrimSpace(string(out)))
			}
		}
	})
}
