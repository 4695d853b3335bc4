module pilothouse.dev/cluster/sample

go 1.26.0
