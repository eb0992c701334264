"""What connects corehttp with other packages. Each module needs the package that it is named after."""
