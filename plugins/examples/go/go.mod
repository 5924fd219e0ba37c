module slack

go 1.26.0

require github.com/evosink/evosink v0.0.0

replace github.com/evosink/evosink => ../../..
