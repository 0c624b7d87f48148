package beam

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// dialyze looks at the package with what it uses of OTP. Ranch and Cowboy are unknown to it.
const dialyze = `set -eu
cd '%s'
mkdir ebin
erlc +debug_info -Werror -o ebin src/*.erl
lib=$(erl -noshell -eval 'io:put_chars(code:lib_dir()), halt().')
of() { for module in $2; do ls "$lib"/$1-*/ebin/"$module".beam; done; }
dialyzer --build_plt --output_plt plt $(of kernel 'socket gen_tcp inet file application logger code inet_db net_kernel os') \
	$(of stdlib 'gen_server gen supervisor ets maps lists queue timer string unicode io_lib proplists rand binary proc_lib sys filelib \
	filename') \
	$(of erts 'erlang atomics prim_file prim_inet erts_internal') >plt.log 2>&1 || test -s plt
dialyzer --plt plt -Wno_unknown -Wunmatched_returns -Werror_handling ebin/*.beam
`

func TestDialyzer(t *testing.T) {
	need.Long(t, time.Minute)
	bash := otp.Neighbours(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "src"), os.DirFS("../../../beam/cnode/src")))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, bash, "-c", fmt.Sprintf(dialyze, dir))
	cmd.Env, cmd.WaitDelay = append(os.Environ(), "HOME="+dir), time.Second
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
