package beam

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The page's pod: the front begins before the application and outlives it, and both have the
// folder of the sockets that the page's configuration names.
func TestPrintedPod(t *testing.T) {
	page, err := os.ReadFile("../../../docs/how-to/websockets-that-outlive-a-deploy.md")
	require.NoError(t, err)
	printed := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindSubmatch(page)
	require.NotNil(t, printed)
	type container struct {
		Name          string
		RestartPolicy string `yaml:"restartPolicy"`
		Args          []string
		VolumeMounts  []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
		} `yaml:"volumeMounts"`
	}
	var pod struct {
		Spec struct {
			InitContainers []container `yaml:"initContainers"`
			Containers     []container
			Volumes        []struct{ Name string }
		}
	}
	require.NoError(t, yaml.Unmarshal(printed[1], &pod))
	require.Len(t, pod.Spec.InitContainers, 1)
	require.Len(t, pod.Spec.Containers, 1)
	front := pod.Spec.InitContainers[0]
	require.Equal(t, "Always", front.RestartPolicy)
	require.Equal(t, "/cnode-front", front.Args[0])
	workers := front.Args[slices.Index(front.Args, "--workers")+1]
	require.Contains(t, string(page), `transport_options: [front: "`+workers+`"]`)
	for _, c := range []container{front, pod.Spec.Containers[0]} {
		require.Len(t, c.VolumeMounts, 1)
		require.Equal(t, pod.Spec.Volumes[0].Name, c.VolumeMounts[0].Name)
		require.Equal(t, "/run/app", c.VolumeMounts[0].MountPath)
	}
}
