module github.com/cnode-go/cnode/transport/tsocket

go 1.26.0

replace github.com/cnode-go/cnode => ../../

require (
	github.com/cnode-go/cnode v0.0.0
	github.com/stretchr/testify v1.12.1
	golang.org/x/sys v0.49.0
)

require (
	go.uber.org/goleak v1.3.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
