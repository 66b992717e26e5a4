"""LIDC-IDRI: series and XML files to nodules, crops and ratings."""
