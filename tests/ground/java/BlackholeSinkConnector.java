package penstock;

/** The same by the name that Penstock's own has: a configuration that runs on either. */
public class BlackholeSinkConnector extends penstock.bench.BlackholeSink { }
