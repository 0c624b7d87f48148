package beam

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page's pod: the front begins before the application and outlives it, and both have the
// folder of the sockets that the page's configuration names.
func TestPrintedPod(t *testing.T) {
	page, err := os.ReadFile("../../../docs/how-to/websockets-that-outlive-a-deploy.md")
	require.NoError(t, err)
	printed := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindSubmatch(page)
	require.NotNil(t, printed)
	_, pod, found := strings.Cut(string(printed[1]), "  initContainers:\n")
	require.True(t, found)
	front, pod, found := strings.Cut(pod, "\n  containers:\n")
	require.True(t, found)
	app, volumes, found := strings.Cut(pod, "\n  volumes:\n")
	require.True(t, found)
	require.Contains(t, front, "\n      restartPolicy: Always\n")
	args := regexp.MustCompile(`(?m)^      args: \[/cnode-front, .*--workers, (\S+)\]$`).FindStringSubmatch(front)
	require.NotNil(t, args)
	require.Contains(t, string(page), `transport_options: [front: "`+args[1]+`"]`)
	const mount = "\n      volumeMounts:\n        - name: front\n          mountPath: /run/app"
	require.Contains(t, front, mount)
	require.Contains(t, app, mount)
	require.Equal(t, "    - name: front\n      emptyDir: {}\n", volumes)
}
