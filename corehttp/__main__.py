"""python -m corehttp"""

from corehttp.cli import main

if __name__ == "__main__":
    main()
