"""What is measured, one module for each path: `jobs` lists its measurements, `measure` takes one in a worker."""
