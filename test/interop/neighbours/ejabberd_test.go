package neighbours

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/stretchr/testify/require"
)

const ejabberd = "ejabberd@127.0.0.1"

// Go manages the users of an ejabberd server, which also calls Go.
func TestEjabberd(t *testing.T) {
	w := newPlace(t)
	config := filepath.Join(w.dir, "ejabberd.yml")
	require.NoError(t, os.WriteFile(config, []byte(`
hosts: [localhost]
loglevel: warning
listen:
  - {port: `+strconv.Itoa(port.Free(t))+`, ip: "127.0.0.1", module: ejabberd_c2s}
modules: {mod_roster: {}}
auth_method: internal
`), 0o600))
	w.serve(ejabberd, "ejabberd", "is_loaded",
		`exec erl -name "$1" -setcookie "$COOKIE" -noinput -pa /usr/lib/*/ejabberd-*/ebin -mnesia dir "\"$DIR/db\"" -s ejabberd`,
		"EJABBERD_CONFIG_PATH="+config, "EJABBERD_LOG_PATH="+filepath.Join(w.dir, "log"))

	w.gives("ok", ejabberd, "ejabberd_auth", "try_register", `[<<"joe">>,<<"localhost">>,<<"secret">>]`)
	w.gives(`[{<<"joe">>,<<"localhost">>}]`, ejabberd, "ejabberd_auth", "get_users", "[]")
	w.gives("true", ejabberd, "ejabberd_auth", "check_password", `[<<"joe">>,<<>>,<<"localhost">>,<<"secret">>]`)

	w.gives(`[1,"joe@localhost"]`, ejabberd, "rpc", "call", "['"+w.n.Name()+`',go,echo,[[1,"joe@localhost"]]]`)
	w.gives(`<<"JOE">>`, ejabberd, "erpc", "call", "['"+w.n.Name()+`',go,upper,[<<"joe">>]]`)
	w.gives("ok", ejabberd, "ejabberd_auth", "remove_user", `[<<"joe">>,<<"localhost">>]`)
	w.gives("[]", ejabberd, "ejabberd_auth", "get_users", "[]")
}
